//! How sipalg speaks IOS: text to commands to configuration, and back.
#![forbid(unsafe_code)]
