//! `show ip nat translations`.

use super::{View, duration};
use core::time::Duration;
use serde::Serialize;
use sipalg_core::Instant;
use sipalg_core::addr::{Ipv4Addr, Protocol};
use sipalg_core::alg::MappingView;

/// Which translations are asked for, and how they are laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Which {
    /// Of this transport protocol only.
    pub protocol: Option<Protocol>,
    /// Of this inside host only, by either of its addresses.
    pub inside: Option<Ipv4Addr>,
    /// How.
    pub form: Form,
}

/// How much of each translation the text has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Form {
    /// A line.
    #[default]
    Table,
    /// `verbose`: three.
    Verbose,
    /// `total`: only how many there are.
    Total,
}

/// `show ip nat translations`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Translations {
    #[serde(skip_serializing_if = "Option::is_none")]
    translations: Option<Vec<Translation>>,
    total: usize,
    #[serde(skip)]
    form: Form,
}

/// The mappings are endpoint-independent: they have no outside address.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Translation {
    /// None: all ports.
    protocol: Option<&'static str>,
    inside_global: String,
    inside_local: String,
    outside_local: Option<String>,
    outside_global: Option<String>,
    age_seconds: u64,
    idle_seconds: u64,
    timeout_milliseconds: Option<u64>,
    left_seconds: Option<u64>,
    #[serde(rename = "static")]
    is_static: bool,
    extended: bool,
    door: Option<&'static str>,
}

/// `show ip nat translations`, of these.
pub fn translations(mappings: &[MappingView], which: Which, now: Instant) -> Translations {
    let wanted: Vec<_> = mappings.iter().filter(|view| which.has(view)).collect();
    let list = || wanted.iter().map(|view| Translation::of(view, now));
    Translations {
        total: wanted.len(),
        translations: (which.form != Form::Total).then(|| list().collect()),
        form: which.form,
    }
}

impl Which {
    fn has(&self, view: &MappingView) -> bool {
        let host = |address: Ipv4Addr| {
            [view.inside_global, view.inside_local]
                .iter()
                .any(|end| *end.ip() == address)
        };
        self.protocol.is_none_or(|of| view.protocol == Some(of)) && self.inside.is_none_or(host)
    }
}

impl Translation {
    fn of(view: &MappingView, now: Instant) -> Self {
        let idle = now.since(view.used);
        let (global, local) = (view.inside_global, view.inside_local);
        let (inside_global, inside_local) = match view.protocol {
            Some(_) => (global.to_string(), local.to_string()),
            None => (global.ip().to_string(), local.ip().to_string()),
        };
        let timeout = view.left.map(|left| (idle + left).as_millis());
        Translation {
            protocol: view.protocol.map(Protocol::name),
            inside_global,
            inside_local,
            outside_local: None,
            outside_global: None,
            age_seconds: now.since(view.created).as_secs(),
            idle_seconds: idle.as_secs(),
            timeout_milliseconds: timeout.and_then(|ms| u64::try_from(ms).ok()),
            left_seconds: view.left.map(|left| left.as_secs()),
            is_static: view.is_static,
            extended: view.protocol.is_some(),
            door: view.door.map(|door| super::sip::kind(door.kind)),
        }
    }

    /// The lines that `verbose` adds. IOS counts the timeout in milliseconds.
    fn details(&self) -> String {
        let span = |seconds| duration(Duration::from_secs(seconds));
        let timer = match (self.timeout_milliseconds, self.left_seconds) {
            (Some(timeout), Some(left)) => format!("{timeout}, left {},", span(left)),
            _ => "0,".into(),
        };
        let flags = [
            self.is_static.then_some("static"),
            self.extended.then_some("extended"),
            self.door.map(|_| "appl-door"),
            self.door,
        ];
        let flags: Vec<_> = flags.into_iter().flatten().collect();
        let flags = match flags.is_empty() {
            true => "none".into(),
            false => flags.join(", "),
        };
        format!(
            "    create {}, use {} timeout:{timer}\n    flags:\n{flags}\n",
            span(self.age_seconds),
            span(self.idle_seconds)
        )
    }
}

impl View for Translations {
    fn text(&self) -> String {
        let Some(translations) = &self.translations else {
            return format!("Total number of translations: {}\n", self.total);
        };
        let mut text = row(
            "Pro",
            [
                "Inside global",
                "Inside local",
                "Outside local",
                "Outside global",
            ],
        );
        for entry in translations {
            let outside = |end: &Option<String>| end.clone().unwrap_or("---".into());
            text += &row(
                entry.protocol.unwrap_or("---"),
                [
                    &entry.inside_global,
                    &entry.inside_local,
                    &outside(&entry.outside_local),
                    &outside(&entry.outside_global),
                ],
            );
            if self.form == Form::Verbose {
                text += &entry.details();
            }
        }
        text
    }
}

/// Columns as wide as IOS's; an address that is wider still keeps a space after it.
fn row(protocol: &str, columns: [&str; 4]) -> String {
    let [global, local, outside_local, outside_global] = columns;
    format!("{protocol:<3} {global:<18} {local:<18} {outside_local:<18} {outside_global}\n")
}
