"""A content-addressed store on disk for teachers, signals, checkpoints and rows."""
