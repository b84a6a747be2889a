"""The page of `crossnets live`: a camera, the hands found in it and what each step takes, in the browser."""
