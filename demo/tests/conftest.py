"""What the tests share."""

import signal

# Where the tests run in the background, SIGINT comes ignored, and the programs would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
