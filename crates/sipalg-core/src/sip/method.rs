//! Methods of requests (RFC 3261 section 7.1), of which the case matters.

/// A method that the gateway does something for; every other is [`Method::Other`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// `INVITE`: RFC 3261 section 13.
    Invite,
    /// `ACK`: RFC 3261 section 13.
    Ack,
    /// `BYE`: RFC 3261 section 15.
    Bye,
    /// `CANCEL`: RFC 3261 section 9.
    Cancel,
    /// `REGISTER`: RFC 3261 section 10.
    Register,
    /// `SUBSCRIBE`: RFC 6665 section 3.1.
    Subscribe,
    /// `NOTIFY`: RFC 6665 section 3.2.
    Notify,
    /// `REFER`: RFC 3515.
    Refer,
    /// `UPDATE`: RFC 3311.
    Update,
    /// `PRACK`: RFC 3262.
    Prack,
    /// Any other, or none.
    Other,
}

impl Method {
    /// Recognises a method.
    pub fn parse(text: &[u8]) -> Method {
        match text {
            b"INVITE" => Method::Invite,
            b"ACK" => Method::Ack,
            b"BYE" => Method::Bye,
            b"CANCEL" => Method::Cancel,
            b"REGISTER" => Method::Register,
            b"SUBSCRIBE" => Method::Subscribe,
            b"NOTIFY" => Method::Notify,
            b"REFER" => Method::Refer,
            b"UPDATE" => Method::Update,
            b"PRACK" => Method::Prack,
            _ => Method::Other,
        }
    }
}
