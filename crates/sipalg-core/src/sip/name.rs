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

/// Each name as it is usually written, with its compact form where it has one.
const NAMES: &[(Name, &str, Option<u8>)] = &[
    (Name::Via, "Via", Some(b'v')),
    (Name::From, "From", Some(b'f')),
    (Name::To, "To", Some(b't')),
    (Name::Contact, "Contact", Some(b'm')),
    (Name::RecordRoute, "Record-Route", None),
    (Name::Route, "Route", None),
    (Name::Path, "Path", None),
    (Name::ServiceRoute, "Service-Route", None),
    (Name::ReferTo, "Refer-To", Some(b'r')),
    (Name::ReferredBy, "Referred-By", Some(b'b')),
    (Name::Replaces, "Replaces", None),
    (Name::TargetDialog, "Target-Dialog", None),
    (Name::PAssertedIdentity, "P-Asserted-Identity", None),
    (Name::PPreferredIdentity, "P-Preferred-Identity", None),
    (Name::RemotePartyId, "Remote-Party-ID", None),
    (Name::PAssociatedUri, "P-Associated-URI", None),
    (Name::Diversion, "Diversion", None),
    (Name::HistoryInfo, "History-Info", None),
    (Name::ReplyTo, "Reply-To", None),
    (Name::AlertInfo, "Alert-Info", None),
    (Name::CallInfo, "Call-Info", None),
    (Name::ErrorInfo, "Error-Info", None),
    (Name::Warning, "Warning", None),
    (Name::CallId, "Call-ID", Some(b'i')),
    (Name::CSeq, "CSeq", None),
    (Name::Identity, "Identity", Some(b'y')),
    (Name::SubscriptionState, "Subscription-State", None),
    (Name::Expires, "Expires", None),
    (Name::ContentLength, "Content-Length", Some(b'l')),
    (Name::ContentType, "Content-Type", Some(b'c')),
    (
        Name::ContentTransferEncoding,
        "Content-Transfer-Encoding",
        None,
    ),
    (Name::ContentEncoding, "Content-Encoding", Some(b'e')),
];

impl Name {
    /// How many there are, with [`Name::Other`].
    pub const COUNT: usize = NAMES.len() + 1;

    /// Recognises a name in any case, long or compact.
    pub fn parse(text: &[u8]) -> Name {
        let Some(place) = slot(text).and_then(|slot| SLOTS.get(slot)) else {
            return Name::Other;
        };
        match NAMES.get(usize::from(*place)) {
            Some((name, long, _))
                if text == long.as_bytes() || text.eq_ignore_ascii_case(long.as_bytes()) =>
            {
                *name
            }
            // Alone in its place, a compact form is known by its letter.
            Some((name, _, Some(compact)))
                if text.len() == 1 && text.eq_ignore_ascii_case(&[*compact]) =>
            {
                *name
            }
            _ => Name::Other,
        }
    }
}

/// Where each name is in [`NAMES`], by its [`slot`]; [`NONE`] where there is no name.
const SLOTS: [u8; 128] = {
    let mut slots = [NONE; 128];
    let mut index = 0;
    while index < NAMES.len() {
        let (_, long, compact) = NAMES[index];
        take(&mut slots, slot(long.as_bytes()), index);
        if let Some(letter) = compact {
            take(&mut slots, slot(&[letter]), index);
        }
        index += 1;
    }
    slots
};

const NONE: u8 = u8::MAX;

const fn take(slots: &mut [u8; 128], slot: Option<usize>, index: usize) {
    if let Some(slot) = slot {
        assert!(
            slots[slot] == NONE,
            "two names have one slot: `slot` needs other factors"
        );
        slots[slot] = index as u8;
    }
}

/// A number that is another for each name, in any case, and compact form: made of its length, its
/// first letter and that in its middle. The factors were found by trying.
const fn slot(text: &[u8]) -> Option<usize> {
    let ([first, ..], (_, [middle, ..])) = (text, text.split_at(text.len() / 2)) else {
        return None;
    };
    let (first, middle) = ((*first | 0x20) as usize, (*middle | 0x20) as usize);
    Some((text.len() + 42 * first + 29 * middle) % 128)
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
        for (name, long, compact) in NAMES {
            assert_eq!(Name::parse(long.as_bytes()), *name);
            assert_eq!(Name::parse(long.to_lowercase().as_bytes()), *name);
            if let Some(letter) = compact {
                assert_eq!(Name::parse(&[letter.to_ascii_uppercase()]), *name);
            }
        }
    }

    #[test]
    fn names_are_numbered_in_the_order_of_their_definition() {
        for (index, (name, _, _)) in NAMES.iter().enumerate() {
            assert!((*name as usize) < Name::Other as usize, "{index}");
        }
        assert_eq!(Name::Other as usize, Name::COUNT - 1);
    }
}
