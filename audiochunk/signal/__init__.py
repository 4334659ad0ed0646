"""From the samples of a recording to the bytes of chunks, each step with its inverse. Only wav and audio open files."""
