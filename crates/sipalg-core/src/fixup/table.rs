//! THE header translation table: which fields hold addresses, and what is done with them.
//!
//! The rule is driven by mappings, not by direction and field: going out, a literal that is an
//! inside local becomes its inside global; coming in, an inside global that is ours becomes its
//! inside local; everything else stays to the byte. A row only says where in the field the address
//! is, and whether the field may make a mapping. A new header is a row here and a name in
//! `sip/name.rs`.

use crate::sip::Name;

/// How a field's value is built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// A comma-separated list of Via values: sent-by, `maddr`, `received` and `rport`.
    Via,
    /// A comma-separated list of name-addr or addr-spec.
    Addresses,
    /// A comma-separated list of code, agent and quoted text.
    WarningAgents,
}

/// What a field may cause when it names an inside local on its way out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Others will connect to it: a mapping is made, and a door follows once the registrar or the
    /// called party has agreed.
    Door,
    /// Others may answer to it: a mapping is made, no door.
    Mapping,
    /// It only names somebody: an existing mapping is used, or the address alone is exchanged.
    Identity,
}

/// One header field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// Which field.
    pub name: Name,
    /// How its value is built.
    pub place: Place,
    /// What it may cause.
    pub reach: Reach,
}

const fn row(name: Name, place: Place, reach: Reach) -> Row {
    Row { name, place, reach }
}

/// The rows. The request line is an address of [`Reach::Identity`] (RFC 3261 section 7.1).
pub const TABLE: &[Row] = &[
    row(Name::Via, Place::Via, Reach::Mapping), // RFC 3261 section 20.42, RFC 3581
    row(Name::From, Place::Addresses, Reach::Identity), // RFC 3261 section 20.20
    row(Name::To, Place::Addresses, Reach::Identity), // RFC 3261 section 20.39
    row(Name::Contact, Place::Addresses, Reach::Door), // RFC 3261 section 20.10
    row(Name::RecordRoute, Place::Addresses, Reach::Door), // RFC 3261 section 20.30
    row(Name::Route, Place::Addresses, Reach::Identity), // RFC 3261 section 20.34
    row(Name::Path, Place::Addresses, Reach::Door), // RFC 3327 section 4
    row(Name::ServiceRoute, Place::Addresses, Reach::Identity), // RFC 3608 section 5
    row(Name::ReferTo, Place::Addresses, Reach::Identity), // RFC 3515 section 2.1
    row(Name::ReferredBy, Place::Addresses, Reach::Identity), // RFC 3892 section 3
    row(Name::PAssertedIdentity, Place::Addresses, Reach::Identity), // RFC 3325 section 9.1
    row(Name::PPreferredIdentity, Place::Addresses, Reach::Identity), // RFC 3325 section 9.2
    row(Name::RemotePartyId, Place::Addresses, Reach::Identity), // draft-ietf-sip-privacy-04
    row(Name::PAssociatedUri, Place::Addresses, Reach::Identity), // RFC 7315 section 4.1
    row(Name::Diversion, Place::Addresses, Reach::Identity), // RFC 5806 section 3
    row(Name::HistoryInfo, Place::Addresses, Reach::Identity), // RFC 7044 section 5
    row(Name::ReplyTo, Place::Addresses, Reach::Identity), // RFC 3261 section 20.31
    row(Name::AlertInfo, Place::Addresses, Reach::Identity), // RFC 3261 section 20.4
    row(Name::CallInfo, Place::Addresses, Reach::Identity), // RFC 3261 section 20.9
    row(Name::ErrorInfo, Place::Addresses, Reach::Identity), // RFC 3261 section 20.18
    row(Name::Warning, Place::WarningAgents, Reach::Identity), // RFC 3261 section 20.43
];

/// The row of a field, if it holds addresses.
pub fn row_of(name: Name) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.name == name)
}
