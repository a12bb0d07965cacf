"""A run in the background inherits that Ctrl-C is ignored, and so would the processes that tests interrupt."""

import signal

signal.signal(signal.SIGINT, signal.default_int_handler)
