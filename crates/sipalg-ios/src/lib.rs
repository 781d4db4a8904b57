//! PLACEHOLDER: replaced by the merge of the IOS language.
#![forbid(unsafe_code)]
#![allow(missing_docs, clippy::all)]

pub mod startup {
    use sipalg_core::Leg;
    use sipalg_core::config::{AccessEntry, AccessList};
    use std::collections::BTreeSet;
    #[derive(Clone, Debug)]
    pub struct Startup {
        pub hostname: Option<String>,
        pub interfaces: Vec<Interface>,
        pub access_lists: Vec<AccessList>,
        pub sources: Vec<InsideSource>,
        pub sip_tcp_ports: BTreeSet<u16>,
    }
    #[derive(Clone, Debug)]
    pub struct Interface {
        pub name: String,
        pub nat: Option<Leg>,
    }
    #[derive(Clone, Debug)]
    pub struct InsideSource {
        pub list: String,
        pub interface: String,
    }
    #[derive(Debug)]
    pub struct ConfigError(pub String);
    impl std::fmt::Display for ConfigError {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(&self.0)
        }
    }
    impl std::error::Error for ConfigError {}
    impl Startup {
        pub fn parse(text: &str) -> Result<Startup, ConfigError> {
            let mut s = Startup {
                hostname: None,
                interfaces: vec![],
                access_lists: vec![],
                sources: vec![],
                sip_tcp_ports: BTreeSet::from([5060]),
            };
            for line in text.lines() {
                let w: Vec<&str> = line.split_whitespace().collect();
                match w.as_slice() {
                    ["interface", n] => {
                        s.interfaces.push(Interface { name: n.to_string(), nat: None })
                    }
                    ["ip", "nat", leg @ ("inside" | "outside")] => {
                        if let Some(i) = s.interfaces.last_mut() {
                            i.nat =
                                Some(if *leg == "inside" { Leg::Inside } else { Leg::Outside })
                        }
                    }
                    ["access-list", n, "permit", a, m] => s.access_lists.push(AccessList {
                        name: n.to_string(),
                        entries: vec![AccessEntry {
                            permit: true,
                            address: a.parse().map_err(|_| ConfigError(line.into()))?,
                            wildcard: m.parse().map_err(|_| ConfigError(line.into()))?,
                        }],
                    }),
                    ["ip", "nat", "inside", "source", "list", l, "interface", i, "overload"] => {
                        s.sources.push(InsideSource { list: l.to_string(), interface: i.to_string() })
                    }
                    ["ip", "nat", "service", "sip", "tcp", "port", p] => {
                        s.sip_tcp_ports.insert(p.parse().map_err(|_| ConfigError(line.into()))?);
                    }
                    [] | ["!"] | ["hostname", _] => {}
                    _ => return Err(ConfigError(format!("cannot read: {line}"))),
                }
            }
            Ok(s)
        }
    }
}

pub mod exec {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Exec {
        ShowRunningConfig,
        ShowTranslations,
        ShowStatistics,
        Debug,
        NoDebug,
    }
    pub fn parse(line: &str) -> Result<Exec, String> {
        match line.trim() {
            "show running-config" => Ok(Exec::ShowRunningConfig),
            "show ip nat translations" => Ok(Exec::ShowTranslations),
            "show ip nat statistics" => Ok(Exec::ShowStatistics),
            "debug ip nat sip" => Ok(Exec::Debug),
            "undebug all" => Ok(Exec::NoDebug),
            _ => Err("% Invalid input detected at '^' marker.".into()),
        }
    }
}

pub mod debug {
    use sipalg_core::Event;
    pub fn lines(event: &Event, line: &mut dyn FnMut(&str)) {
        line(&format!("{event:?}"))
    }
}
