//! Laws of the language: of the table's entries, and of generated configurations.

use sipalg_core::Leg;
use sipalg_ios::access::{self, Line, MAX_SEQUENCE, StandardList};
use sipalg_ios::commands::{EXEC, GLOBAL, INTERFACE, LIST, PRIVILEGED};
use sipalg_ios::grammar::{self, Command, Expected, Kind, Token};
use sipalg_ios::running;
use sipalg_ios::startup::{InsideSource, Interface, Startup};

#[test]
fn every_example_means_its_own_command_and_no_other() {
    fn check<M>(table: &'static [Command<M>]) {
        for entry in table {
            let (found, args) = grammar::parse(table, entry.example).unwrap();
            assert_eq!(found.example, entry.example);
            assert!(!args.no);
            let no = grammar::parse(table, &format!("no {}", entry.example));
            assert_eq!(no.is_ok_and(|(found, args)| found.no && args.no), entry.no);
        }
    }
    check(GLOBAL);
    check(INTERFACE);
    check(LIST);
    check(EXEC);
    check(PRIVILEGED);
}

#[test]
fn whatever_help_offers_is_accepted_and_each_token_is_offered_once() {
    fn check<M>(table: &'static [Command<M>]) {
        let mut lines = vec![String::new()];
        while let Some(line) = lines.pop() {
            let Expected { tokens, end } = grammar::expected(table, &line).unwrap();
            assert_eq!(grammar::parse(table, &line).is_ok(), end, "{line}");
            assert!(end || !tokens.is_empty(), "{line}: a dead end");
            for (index, token) in tokens.iter().enumerate() {
                assert!(!token.help.is_empty(), "{line}{token}: no help");
                let same = |other: &Token| other.to_string() == token.to_string();
                assert!(
                    !tokens[..index].iter().any(same),
                    "{line}{token}: offered twice"
                );
                lines.push(format!("{line}{} ", sample(token)));
            }
        }
    }
    check(GLOBAL);
    check(INTERFACE);
    check(LIST);
    check(EXEC);
    check(PRIVILEGED);
}

/// Something that can be typed for a token.
fn sample(token: &Token) -> String {
    match token.kind {
        Kind::Keyword => token.name.into(),
        Kind::Number(_, high) => high.to_string(),
        Kind::Address => "10.0.0.1".into(),
        Kind::Name | Kind::Word | Kind::Line => "x".into(),
    }
}

#[test]
fn the_running_configuration_parses_to_the_same_configuration() {
    let mut features = [0; 4];
    for seed in 0..2000 {
        let startup = generate(&mut Random(seed));
        let text = running::config(&startup);
        assert_eq!(
            Startup::parse(&text),
            Ok(startup.clone()),
            "seed {seed}:\n{text}"
        );
        assert_eq!(running::config(&startup), text);
        let seen = [
            !startup.sources.is_empty(),
            !startup.sip_tcp_ports.contains(&5060),
            startup.lists.values().any(|list| !list.is_plain()),
            text.contains("remark"),
        ];
        features
            .iter_mut()
            .zip(seen)
            .for_each(|(count, seen)| *count += usize::from(seen));
    }
    assert!(
        features.iter().all(|count| *count > 200),
        "a poor generator: {features:?}"
    );
}

#[test]
fn the_running_configuration_of_the_default_says_nothing() {
    assert_eq!(running::config(&Startup::default()), "!\nend\n");
}

#[test]
fn the_running_configuration_looks_like_that_of_ios() {
    let text = "\
!
hostname gw
!
interface gin
 ip nat inside
!
interface gout
 ip nat outside
!
no ip nat service sip tcp port 5060
ip nat service sip tcp port 8000
!
ip nat inside source list 1 interface gout overload
ip nat inside source list LAN interface gout overload
!
ip access-list standard LAN
 remark the second floor
 deny 10.0.0.1
 permit any
!
access-list 1 permit 192.168.122.0 0.0.0.255
!
end
";
    assert_eq!(running::config(&Startup::parse(text).unwrap()), text);
}

/// A configuration that is right.
fn generate(random: &mut Random) -> Startup {
    let mut startup = Startup::default();
    if random.below(2) == 1 {
        startup.hostname = Some(format!("gw-{}", random.below(100)));
    }
    for index in 0..random.below(4) {
        let nat = [None, Some(Leg::Inside), Some(Leg::Outside)][random.below(3)];
        startup.interfaces.push(Interface {
            name: format!("eth{index}.7"),
            nat,
        });
    }
    for _ in 0..random.below(4) {
        let name = ["1", "99", "1300", "1999", "LAN", "any"][random.below(6)];
        startup.lists.insert(name.into(), generate_list(random));
    }
    for port in [5060, 8000, 1, 65535] {
        match random.below(2) {
            0 => startup.sip_tcp_ports.remove(&port),
            _ => startup.sip_tcp_ports.insert(port),
        };
    }
    if random.below(2) == 1 {
        startup.sip_header_limit = 1024 + random.below(5000);
        startup.sip_body_limit = random.below(70_000);
    }
    if startup.interfaces_on(Leg::Inside).next().is_some() {
        let outside: Vec<String> = startup
            .interfaces_on(Leg::Outside)
            .map(String::from)
            .collect();
        for list in startup.lists.keys() {
            let compiled = startup.access_list(list).expect("its own list");
            if !outside.is_empty() && !compiled.entries.is_empty() {
                let interface = outside[random.below(outside.len())].clone();
                startup
                    .sources
                    .push(InsideSource::overload(list, interface));
            }
        }
        if random.below(2) == 1 {
            startup.sources.reverse();
        }
    }
    startup
}

fn generate_list(random: &mut Random) -> StandardList {
    let mut list = StandardList::default();
    let numbered = random.below(2) == 1;
    for _ in 0..random.below(5) {
        let address = (random.next() as u32).into();
        let wildcard = [0, u32::MAX, 255, 0x00ff_00ff][random.below(4)].into();
        let line = match random.below(4) {
            0 => Line::Remark(["permit any", "a  b", "10", "!"][random.below(4)].into()),
            n => Line::Entry(access::entry(n == 1, address, wildcard).expect("no subnet mask")),
        };
        let sequence = [1, 5, 10, 20, MAX_SEQUENCE][random.below(5)];
        // A sequence number that is taken is the generator's miss.
        let _ = list.add(numbered.then_some(sequence), line);
    }
    list
}

/// SplitMix64: the same configurations on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
