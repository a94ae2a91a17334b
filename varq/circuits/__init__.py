"""Circuits that algorithms share: frames of phase estimation, arithmetic in Fourier space, order finding."""
