"""Pod security standards: what the labels of a namespace allow its pods."""
