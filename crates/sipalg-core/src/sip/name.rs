//! Header names and their compact forms (RFC 3261 section 7.3.3).

use crate::bytes;
use core::ops::Range;

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
const NAMES: &[(Name, &str, Option<&str>)] = &[
    (Name::Via, "Via", Some("v")),
    (Name::From, "From", Some("f")),
    (Name::To, "To", Some("t")),
    (Name::Contact, "Contact", Some("m")),
    (Name::RecordRoute, "Record-Route", None),
    (Name::Route, "Route", None),
    (Name::Path, "Path", None),
    (Name::ServiceRoute, "Service-Route", None),
    (Name::ReferTo, "Refer-To", Some("r")),
    (Name::ReferredBy, "Referred-By", Some("b")),
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
    (Name::CallId, "Call-ID", Some("i")),
    (Name::CSeq, "CSeq", None),
    (Name::Identity, "Identity", Some("y")),
    (Name::SubscriptionState, "Subscription-State", None),
    (Name::Expires, "Expires", None),
    (Name::ContentLength, "Content-Length", Some("l")),
    (Name::ContentType, "Content-Type", Some("c")),
    (
        Name::ContentTransferEncoding,
        "Content-Transfer-Encoding",
        None,
    ),
    (Name::ContentEncoding, "Content-Encoding", Some("e")),
];

impl Name {
    /// How many there are, with [`Name::Other`].
    pub const COUNT: usize = NAMES.len() + 1;

    /// One bit of 64 for each.
    pub(super) const fn bit(self) -> u64 {
        const { assert!(Name::COUNT <= 64) };
        1 << self as u32
    }

    /// The name that a header line begins with, if it is a recognised one, and the place of the colon
    /// behind it.
    #[inline(always)] // asked of every line in one place
    pub(crate) fn of_line(message: &[u8], line: Range<usize>) -> Option<(Name, usize)> {
        let head = message.get(line.start..)?.first_chunk();
        if let Some((known, length)) = head.and_then(short)
            && length < line.len()
        {
            return Some((known?, line.start + length));
        }
        let colon = bytes::find(message, line.clone(), [b':'])?;
        let text = message.get(line.start..colon)?;
        match Name::parse(text.trim_ascii_end()) {
            Name::Other => None,
            known => Some((known, colon)),
        }
    }

    /// Recognises a name in any case, long or compact.
    pub fn parse(text: &[u8]) -> Name {
        let ([first, ..], (_, [middle, ..])) = (text, text.split_at(text.len() / 2)) else {
            return Name::Other;
        };
        match KNOWN.get(slot(*first, *middle, text.len())) {
            Some(known) if text.eq_ignore_ascii_case(known.text.as_bytes()) => known.name,
            _ => Name::Other,
        }
    }
}

/// The length of a name of a few bytes with its colon directly behind it, as nearly all are, and which
/// it is if it is a recognised one. All is seen by comparing the sixteen bytes that the line begins
/// with.
#[inline(always)]
fn short(head: &[u8; 16]) -> Option<(Option<Name>, usize)> {
    let length = bytes::first_place(head, b':')?;
    let known = KNOWN.get(slot(head[0], *head.get(length / 2)?, length))?;
    let same = bytes::equal_with(head, &known.cased, &known.lower) | known.beyond;
    if same == u32::MAX {
        return Some((Some(known.name), length));
    }
    let last = head.get(length.checked_sub(1)?)?;
    (!last.is_ascii_whitespace()).then_some((None, length))
}

/// A name or compact form, in its [`slot`].
#[derive(Clone, Copy)]
struct Known {
    /// How a line begins with it, in lower case and with the colon.
    lower: [u8; 16],
    /// The bit that tells lower from upper case, where there are letters.
    cased: [u8; 16],
    /// The places behind the colon.
    beyond: u32,
    name: Name,
    text: &'static str,
}

impl Known {
    /// What no line begins with.
    const NONE: Known = Known {
        lower: [0; 16],
        cased: [0; 16],
        beyond: 0,
        name: Name::Other,
        text: "",
    };

    const fn new(name: Name, text: &'static str) -> Known {
        let mut known = Known {
            name,
            text,
            ..Known::NONE
        };
        let mut at = 0;
        while at < 16 {
            if at < text.len() {
                let letter = text.as_bytes()[at];
                known.lower[at] = letter.to_ascii_lowercase();
                known.cased[at] = if letter.is_ascii_alphabetic() {
                    0x20
                } else {
                    0
                };
            } else if at == text.len() {
                known.lower[at] = b':';
            } else {
                known.beyond |= 1 << at;
            }
            at += 1;
        }
        known.beyond |= !0xffff;
        known
    }
}

/// All names and compact forms.
static KNOWN: [Known; 128] = {
    let mut known = [Known::NONE; 128];
    let mut index = 0;
    while index < NAMES.len() {
        let (name, long, compact) = NAMES[index];
        take(&mut known, name, long);
        if let Some(letter) = compact {
            take(&mut known, name, letter);
        }
        index += 1;
    }
    known
};

const fn take(known: &mut [Known; 128], name: Name, text: &'static str) {
    let bytes = text.as_bytes();
    let slot = slot(bytes[0], bytes[bytes.len() / 2], bytes.len());
    assert!(
        known[slot].text.is_empty(),
        "two names have one slot: `slot` needs other factors"
    );
    known[slot] = Known::new(name, text);
}

/// A number that is another for each name, in any case, and compact form: made of its length, its
/// first letter and that in its middle. The factors were found by trying, and are such that the bit
/// that tells lower from upper case drops out.
const fn slot(first: u8, middle: u8, length: usize) -> usize {
    (3 * length + 8 * first as usize + 84 * middle as usize) % 128
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
                assert_eq!(Name::parse(letter.to_uppercase().as_bytes()), *name);
            }
        }
    }

    /// Of a line that nothing follows, the name is read without [`short`] if it is short.
    #[test]
    fn what_follows_a_line_changes_nothing_of_its_name() {
        let texts = NAMES
            .iter()
            .flat_map(|(_, long, compact)| [Some(*long), *compact]);
        let texts = texts
            .flatten()
            .chain(["", "X", "Max-Forwards", "Unlike-any-of-the-names"]);
        for text in texts {
            let upper = text.to_uppercase();
            let joined = text.replace('-', "\r");
            for name in [
                text,
                &upper,
                &joined,
                &format!("{text} "),
                &format!("{text}x"),
            ] {
                for line in [format!("{name}:"), format!("{name}: y"), name.to_string()] {
                    let alone = Name::of_line(line.as_bytes(), 0..line.len());
                    let expected = Name::parse(name.trim_ascii_end().as_bytes());
                    let known = line.contains(':') && expected != Name::Other;
                    let expected = known.then_some((expected, name.len()));
                    assert_eq!(alone, expected, "{line:?}");
                    let among = format!("a: b\n{line}\nVia: SIP/2.0/TCP 192.168.1.1:5060\n");
                    let found = Name::of_line(among.as_bytes(), 5..5 + line.len());
                    let expected = expected.map(|(name, colon)| (name, 5 + colon));
                    assert_eq!(found, expected, "{line:?}");
                }
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
