//! Header names and their compact forms (RFC 3261 section 7.3.3).

/// A header field that the gateway looks at; every other is [`Name::Other`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Name {
    /// `Via`, `v`: RFC 3261 section 20.42.
    Via,
    /// `From`, `f`: RFC 3261 section 20.20.
    From,
    /// `To`, `t`: RFC 3261 section 20.39.
    To,
    /// `Contact`, `m`: RFC 3261 section 20.10.
    Contact,
    /// `Record-Route`: RFC 3261 section 20.30.
    RecordRoute,
    /// `Route`: RFC 3261 section 20.34.
    Route,
    /// `path`: RFC 3327 section 4.
    Path,
    /// `service-route`: RFC 3608 section 5.
    ServiceRoute,
    /// `refer-to`: RFC 3515 section 2.1.
    ReferTo,
    /// `referred-by`: RFC 3892 section 3.
    ReferredBy,
    /// `replaces`: RFC 3891 section 6.1.
    Replaces,
    /// `target-dialog`: RFC 4538 section 7.
    TargetDialog,
    /// `p-asserted-identity`: RFC 3325 section 9.1.
    PAssertedIdentity,
    /// `p-preferred-identity`: RFC 3325 section 9.2.
    PPreferredIdentity,
    /// `remote-party-id`: draft-ietf-sip-privacy-04.
    RemotePartyId,
    /// `p-associated-uri`: RFC 7315 section 4.1.
    PAssociatedUri,
    /// `diversion`: RFC 5806 section 3.
    Diversion,
    /// `history-info`: RFC 7044 section 5.
    HistoryInfo,
    /// `reply-to`: RFC 3261 section 20.31.
    ReplyTo,
    /// `alert-info`: RFC 3261 section 20.4.
    AlertInfo,
    /// `call-info`: RFC 3261 section 20.9.
    CallInfo,
    /// `error-info`: RFC 3261 section 20.18.
    ErrorInfo,
    /// `warning`: RFC 3261 section 20.43.
    Warning,
    /// `Call-ID`, `i`: RFC 3261 section 20.8.
    CallId,
    /// `CSeq`: RFC 3261 section 20.16.
    CSeq,
    /// `Identity`, `y`: RFC 8224 section 4.
    Identity,
    /// `Subscription-State`: RFC 6665 section 8.2.3.
    SubscriptionState,
    /// `Expires`: RFC 3261 section 20.19.
    Expires,
    /// `Content-Length`, `l`: RFC 3261 section 20.14.
    ContentLength,
    /// `Content-Type`, `c`: RFC 3261 section 20.15.
    ContentType,
    /// `Content-Encoding`, `e`: RFC 3261 section 20.12.
    ContentEncoding,
    /// `Content-Transfer-Encoding`: RFC 2045 section 6.
    ContentTransferEncoding,
    /// Anything else; its text is never looked into.
    Other,
}

/// Each name in its long form, with its compact form where it has one.
const NAMES: &[(Name, &str, Option<u8>)] = &[
    (Name::Via, "via", Some(b'v')),
    (Name::From, "from", Some(b'f')),
    (Name::To, "to", Some(b't')),
    (Name::Contact, "contact", Some(b'm')),
    (Name::RecordRoute, "record-route", None),
    (Name::Route, "route", None),
    (Name::Path, "path", None),
    (Name::ServiceRoute, "service-route", None),
    (Name::ReferTo, "refer-to", Some(b'r')),
    (Name::ReferredBy, "referred-by", Some(b'b')),
    (Name::Replaces, "replaces", None),
    (Name::TargetDialog, "target-dialog", None),
    (Name::PAssertedIdentity, "p-asserted-identity", None),
    (Name::PPreferredIdentity, "p-preferred-identity", None),
    (Name::RemotePartyId, "remote-party-id", None),
    (Name::PAssociatedUri, "p-associated-uri", None),
    (Name::Diversion, "diversion", None),
    (Name::HistoryInfo, "history-info", None),
    (Name::ReplyTo, "reply-to", None),
    (Name::AlertInfo, "alert-info", None),
    (Name::CallInfo, "call-info", None),
    (Name::ErrorInfo, "error-info", None),
    (Name::Warning, "warning", None),
    (Name::CallId, "call-id", Some(b'i')),
    (Name::CSeq, "cseq", None),
    (Name::Identity, "identity", Some(b'y')),
    (Name::SubscriptionState, "subscription-state", None),
    (Name::Expires, "expires", None),
    (Name::ContentLength, "content-length", Some(b'l')),
    (Name::ContentType, "content-type", Some(b'c')),
    (
        Name::ContentTransferEncoding,
        "content-transfer-encoding",
        None,
    ),
    (Name::ContentEncoding, "content-encoding", Some(b'e')),
];

impl Name {
    /// Recognises a name in any case, long or compact.
    pub fn parse(text: &[u8]) -> Name {
        if let [letter] = text {
            let letter = letter.to_ascii_lowercase();
            return NAMES
                .iter()
                .find(|(_, _, compact)| *compact == Some(letter))
                .map_or(Name::Other, |(name, _, _)| *name);
        }
        NAMES
            .iter()
            .find(|(_, long, _)| {
                long.len() == text.len() && text.eq_ignore_ascii_case(long.as_bytes())
            })
            .map_or(Name::Other, |(name, _, _)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case_and_in_compact_form() {
        assert_eq!(Name::parse(b"Record-Route"), Name::RecordRoute);
        assert_eq!(Name::parse(b"CONTENT-length"), Name::ContentLength);
        assert_eq!(Name::parse(b"V"), Name::Via);
        assert_eq!(Name::parse(b"x"), Name::Other);
        assert_eq!(Name::parse(b""), Name::Other);
        assert_eq!(Name::parse(b"Viaa"), Name::Other);
    }
}
