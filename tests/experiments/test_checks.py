"""What cannot work is refused before anything is trained, in one line that names a way out."""

import pytest

from kdlib.experiments.checks import _check_network


@pytest.mark.parametrize("name", ["mlp", "mlp_32"])
def test_a_network_for_square_images_refuses_others(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} takes square images and these are 8x6; choose folder:PATH@8"):
        _check_network(name, 10, (3, 8, 6))
    _check_network(name, 10, (3, 8, 8))


def test_a_convolutional_network_takes_any_shape() -> None:
    _check_network("resnet8", 10, (3, 8, 6))
