"""From recordings to the bytes of chunks, each step with its inverse. riff, wav, sndfile and audio read files."""
