//! SIPp, which makes many calls at once.
