"""The pipelines that Safelight brings along, found by `safelight.pipelines.load()`.

transform/   sizes, crops, formats and watermarks
restore/     old photographs: color, contrast, noise, dust, scratches, sharpness
modes.py     any Pillow mode -> gray or RGB, and alpha
srgb.py      a picture with a wide-gamut profile -> sRGB
"""
