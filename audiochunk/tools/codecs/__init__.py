"""What existing codecs make of sounds: sizes and times that count only after what comes back was compared."""
