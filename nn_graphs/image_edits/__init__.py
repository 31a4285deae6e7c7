"""Edits of images, made on the images themselves: what edited INRs are to draw.

`morphology.py` (dilation, erosion), `contrast.py` (with `clahe.py` and `lab_colors.py`),
`rotation.py`, `inpainting.py`; by name in `edits.py`.
"""

from nn_graphs.image_edits.edits import EDITS, edited_images

__all__ = ["EDITS", "edited_images"]
