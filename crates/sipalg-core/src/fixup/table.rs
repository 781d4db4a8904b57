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
    /// A Call-ID and tags, which name a dialog (RFC 3891 section 3, RFC 4538 section 7). Nothing in it is
    /// an address, whatever it looks like: the other end compares it with the Call-ID that it has
    /// seen, and that is never changed.
    Dialog,
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
    row(Name::Replaces, Place::Dialog, Reach::Identity), // RFC 3891 section 6.1
    row(Name::TargetDialog, Place::Dialog, Reach::Identity), // RFC 4538 section 7
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

/// The row of a field, if it has one.
#[cfg(not(test))]
pub fn row_of(name: Name) -> Option<&'static Row> {
    ROWS.get(name as usize)?.as_ref()
}

#[cfg(test)]
pub use tests::row_of;

/// The rows by their names.
const ROWS: [Option<Row>; Name::COUNT] = {
    let mut rows = [None; Name::COUNT];
    let mut index = 0;
    while index < TABLE.len() {
        rows[TABLE[index].name as usize] = Some(TABLE[index]);
        index += 1;
    }
    rows
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Case, cases, run};
    use std::cell::Cell;

    std::thread_local! {
        /// The table that [`row_of`] looks into, so that a test may put another in its place.
        static TESTED: Cell<&'static [Row]> = const { Cell::new(TABLE) };
    }

    pub fn row_of(name: Name) -> Option<&'static Row> {
        TESTED.get().iter().find(|row| row.name == name)
    }

    #[test]
    fn the_rows_by_name_are_those_of_the_table() {
        let rows: Vec<_> = ROWS.into_iter().flatten().collect();
        assert_eq!(rows.len(), TABLE.len());
        assert!(
            TABLE
                .iter()
                .all(|row| ROWS[row.name as usize] == Some(*row))
        );
    }

    /// The golden cases that fail with another table.
    fn failed(cases: &[Case], table: Vec<Row>) -> Vec<&str> {
        TESTED.set(table.leak());
        let wrong = cases.iter().filter(|case| {
            let script = case.script().expect("a case that can be read");
            run::run(&script, usize::MAX).is_err()
        });
        let failed = wrong.map(|case| case.name.as_str()).collect();
        TESTED.set(TABLE);
        failed
    }

    fn with(changed: usize, to: Option<Row>) -> Vec<Row> {
        let mut table = TABLE.to_vec();
        match to {
            Some(row) => table[changed] = row,
            None => drop(table.remove(changed)),
        }
        table
    }

    #[test]
    fn every_row_is_missed_by_a_golden_case() {
        let cases = cases("data");
        let none: [&str; 0] = [];
        assert_eq!(failed(&cases, TABLE.to_vec()), none);
        for (number, row) in TABLE.iter().enumerate() {
            // A row that says that nothing is an address is missed where it says something else.
            let to = (row.place == Place::Dialog).then_some(Row {
                place: Place::Addresses,
                ..*row
            });
            let failed = failed(&cases, with(number, to));
            assert!(!failed.is_empty(), "{row:?}");
        }
    }

    #[test]
    fn what_a_row_may_cause_is_seen_by_a_golden_case() {
        let cases = cases("data");
        for (number, row) in TABLE.iter().enumerate() {
            for reach in [Reach::Door, Reach::Mapping, Reach::Identity] {
                if reach == row.reach || row.place != Place::Addresses {
                    continue;
                }
                let failed = failed(&cases, with(number, Some(Row { reach, ..*row })));
                assert!(!failed.is_empty(), "{row:?} as {reach:?}");
            }
        }
    }

    /// The fields that hold addresses or name dialogs, by who defines them.
    const FIELDS: &[(&str, &[&str])] = &[
        (
            "RFC 3261",
            &[
                "Via",
                "v",
                "From",
                "f",
                "To",
                "t",
                "Contact",
                "m",
                "Record-Route",
                "Route",
                "Reply-To",
                "Alert-Info",
                "Call-Info",
                "Error-Info",
                "Warning",
            ],
        ),
        ("RFC 3327", &["Path"]),
        ("RFC 3608", &["Service-Route"]),
        ("RFC 3515", &["Refer-To", "r"]),
        ("RFC 3892", &["Referred-By", "b"]),
        ("RFC 3891", &["Replaces"]),
        ("RFC 4538", &["Target-Dialog"]),
        ("RFC 3325", &["P-Asserted-Identity", "P-Preferred-Identity"]),
        ("draft-ietf-sip-privacy-04", &["Remote-Party-ID"]),
        ("RFC 7315", &["P-Associated-URI"]),
        ("RFC 5806", &["Diversion"]),
        ("RFC 7044", &["History-Info"]),
    ];

    #[test]
    fn every_field_has_its_row_and_no_row_is_twice_or_of_no_field() {
        let mut rows: Vec<&Row> = TABLE.iter().collect();
        for (source, names) in FIELDS {
            for name in *names {
                let row = row_of(Name::parse(name.as_bytes()));
                let row = row.unwrap_or_else(|| panic!("{name} of {source} has no row"));
                // Its compact form comes right behind it.
                if name.len() > 1 {
                    let place = rows.iter().position(|other| *other == row);
                    rows.remove(place.unwrap_or_else(|| panic!("{name} has the row of another")));
                }
            }
        }
        assert_eq!(rows, [] as [&Row; 0], "rows of no field, or twice");
    }

    #[test]
    fn what_must_stay_has_no_row() {
        for name in [
            "Call-ID",
            "i",
            "CSeq",
            "Authorization",
            "Proxy-Authorization",
            "WWW-Authenticate",
            "Proxy-Authenticate",
            "Authentication-Info",
            "Identity",
            "y",
            "User-Agent",
            "Server",
            "Subject",
            "s",
            "Organization",
            "In-Reply-To",
            "Content-Length",
            "l",
        ] {
            assert_eq!(row_of(Name::parse(name.as_bytes())), None, "{name}");
        }
    }
}
