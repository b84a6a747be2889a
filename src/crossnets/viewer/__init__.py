"""The page of `crossnets live`: the images of a camera, its hands, and the time of each step, in the browser."""
