//! Laws of the language: of the table's entries, and of generated configurations.

mod generate;

use generate::{Random, generate};
use sipalg_ios::Exec;
use sipalg_ios::commands::{EXEC, EXTENDED_LIST, GLOBAL, INTERFACE, LIST, PRIVILEGED, Setting};
use sipalg_ios::exec::{self, Privilege};
use sipalg_ios::grammar::{self, Command, Expected, Kind, Part, Token};
use sipalg_ios::parse::Editor;
use sipalg_ios::running;
use sipalg_ios::startup::{SourceKind, Startup};

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
    check(EXTENDED_LIST);
    check(EXEC);
    check(PRIVILEGED);
}

#[test]
fn whatever_help_offers_is_accepted_and_each_token_is_offered_once() {
    fn check<M>(table: &'static [Command<M>]) {
        let mut random = Random::new(0);
        for command in table {
            let mut left = Vec::new();
            every_token(command.pattern, &mut |token| left.push(*token));
            let mut walks = 0;
            while walks < 20 || !left.is_empty() {
                walk(table, command, &mut random, &mut left);
                walks += 1;
                assert!(walks < 2000, "never offered: {left:?}");
            }
        }
    }

    /// Goes on with what help offers until nothing is left of the command.
    fn walk<M>(
        table: &'static [Command<M>],
        command: &'static Command<M>,
        random: &mut Random,
        left: &mut Vec<Token>,
    ) {
        let mut line = String::new();
        loop {
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
            }
            let of_command = grammar::expected(core::slice::from_ref(command), &line);
            let tokens = of_command.unwrap().tokens;
            if tokens.is_empty() {
                return;
            }
            let new = tokens.iter().find(|token| left.contains(token));
            let token = new.unwrap_or(&tokens[random.below(tokens.len())]);
            left.retain(|other| other != token);
            line += &format!("{} ", sample(token));
        }
    }
    check(GLOBAL);
    check(INTERFACE);
    check(LIST);
    check(EXTENDED_LIST);
    check(EXEC);
    check(PRIVILEGED);
}

fn every_token(parts: &[Part], see: &mut impl FnMut(&Token)) {
    for part in parts {
        match part {
            Part::One(token) => see(token),
            Part::Optional(parts) => every_token(parts, see),
            Part::OneOf(choices) => choices.iter().for_each(|parts| every_token(parts, see)),
            Part::NoEnds => {}
        }
    }
}

/// Something that can be typed for a token.
fn sample(token: &Token) -> String {
    match token.kind {
        Kind::Keyword => token.name.into(),
        Kind::Number(_, high) => high.to_string(),
        Kind::Address => "10.0.0.1".into(),
        Kind::PrefixLength => "/24".into(),
        Kind::Name | Kind::Word | Kind::Line => "x".into(),
    }
}

#[test]
fn the_running_configuration_parses_to_the_same_configuration() {
    let mut features = [0; 16];
    for seed in 0..1000 {
        let startup = generate(&mut Random::new(seed));
        let text = running::config(&startup);
        assert_eq!(
            Startup::parse(&text),
            Ok(startup.clone()),
            "seed {seed}:\n{text}"
        );
        assert_eq!(running::config(&startup), text);
        let kind = |is: fn(&SourceKind) -> bool| startup.sources.iter().any(|r| is(&r.kind));
        let seen = [
            kind(|k| matches!(k, SourceKind::List { overload: true, .. })),
            kind(|k| {
                matches!(
                    k,
                    SourceKind::List {
                        overload: false,
                        ..
                    }
                )
            }),
            kind(|k| matches!(k, SourceKind::Static { prefix: 32, .. })),
            kind(|k| matches!(k, SourceKind::Static { prefix: 1..32, .. })),
            kind(|k| matches!(k, SourceKind::StaticPort { .. })),
            startup.sources.iter().any(|r| r.no_payload),
            !startup.sip_tcp_ports.contains(&5060),
            !startup.l4f,
            startup.lists.values().any(|list| !list.is_plain()),
            text.contains("remark"),
            text.contains("established"),
            text.contains(" range "),
            text.contains(" never"),
            text.contains("max-entries"),
            text.contains("access-group"),
            text.contains("sip timeout"),
        ];
        features
            .iter_mut()
            .zip(seen)
            .for_each(|(count, seen)| *count += usize::from(seen));
    }
    assert!(
        features.iter().all(|count| *count > 50),
        "a poor generator: {features:?}"
    );
}

/// What the examples of the global commands need to be checked.
const CONTEXT: &str = "\
interface gin
 ip nat inside
interface gout
 ip nat outside
ip access-list standard PBX
 permit 10.0.0.6
ip access-list extended 110
 permit ip any any
ip access-list extended 120
 permit ip any any
access-list 1 permit 192.168.0.0 0.0.255.255
";

#[test]
fn the_line_of_every_example_is_in_the_running_configuration() {
    let lists = "ip access-list standard PROVIDERS\n permit any\n";
    for command in GLOBAL.iter().filter(|c| c.no) {
        let example = command.example;
        let needed = if example.ends_with("PROVIDERS") && !example.contains("extended") {
            lists
        } else {
            ""
        };
        let text = format!("{CONTEXT}{needed}{example}\n");
        let startup = Startup::parse(&text).unwrap_or_else(|error| panic!("{error}"));
        let running = running::config(&startup);
        let is_default = startup == Startup::parse(&format!("{CONTEXT}{needed}")).unwrap();
        assert!(
            is_default || running.lines().any(|line| line == example),
            "{example}:\n{running}"
        );
        let may_be = [
            "ip nat l4f",
            "interface gin",
            "access-list 1 permit 192.168.122.0 0.0.0.255",
        ];
        assert!(!is_default || may_be.contains(&example), "{example}");
        assert_eq!(Startup::parse(&running), Ok(startup));
    }
}

#[test]
fn no_and_default_take_back_what_every_example_says() {
    fn check<C>(table: &'static [Command<Setting<C>>], mode: &str) {
        for command in table.iter().filter(|c| c.no) {
            for word in ["no", "default", "def", "DEFAULT"] {
                let mut editor = Editor::default();
                let mut type_in = |line: &str| {
                    editor.line(line).unwrap_or_else(|p| panic!("{line}: {p}"));
                    editor.startup.clone()
                };
                let before = type_in(mode);
                type_in(command.example);
                let mut after = type_in(&format!("{word} {}", command.example));
                if word == "no" && command.example == "ip nat l4f" {
                    assert!(!after.l4f);
                    after.l4f = true;
                }
                assert_eq!(after, before, "{word} {}", command.example);
            }
        }
    }
    check(GLOBAL, "");
    check(INTERFACE, "interface gin");
    check(LIST, "ip access-list standard LAN");
    check(EXTENDED_LIST, "ip access-list extended WAN");
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
ip nat translation tcp-timeout 7440
ip nat translation dns-timeout never
!
ip nat translation port-timeout udp 1194 never
!
ip nat translation max-entries all-host 2000
!
no ip nat l4f
!
no ip nat service sip tcp port 5060
ip nat service sip tcp port 8000
!
ip nat service sip access-group PROVIDERS
!
ip nat pool OFFICE 203.0.113.16 203.0.113.23 netmask 255.255.255.0
!
ip nat inside source static 10.0.0.5 203.0.113.5
ip nat inside source list 1 interface gout overload
ip nat inside source static network 10.0.1.0 198.51.100.0 /24 no-alias
ip nat inside source list LAN pool OFFICE no-payload
ip nat inside source static udp 10.0.0.6 5060 interface gout 5060
!
ip access-list standard LAN
 remark the second floor
 deny 10.0.0.1
 permit any log
!
ip access-list extended PROVIDERS
 5 permit tcp host 203.0.113.9 any eq 5060
 10 permit udp 203.0.112.0 0.0.1.255 gt 1023 any range ntp 200
 20 permit tcp any eq www any established log
 30 deny 132 any any
 40 permit ip any 10.0.0.0 0.255.0.255
!
access-list 1 permit 192.168.122.0 0.0.0.255
!
access-list 100 permit icmp any any
!
end
";
    assert_eq!(running::config(&Startup::parse(text).unwrap()), text);
}

#[test]
fn whatever_is_shown_is_shown_as_json_too() {
    let interpret = |line: &str| exec::interpret(Privilege::Privileged, line);
    let shows =
        |command: &&&Command<_>| matches!(command.pattern[0], Part::One(t) if t.name == "show");
    let mut seen = 0;
    for command in EXEC
        .iter()
        .chain(PRIVILEGED)
        .collect::<Vec<_>>()
        .iter()
        .filter(shows)
    {
        // The session answers it by itself.
        if command.example == "show privilege" {
            continue;
        }
        seen += 1;
        let text = interpret(command.example).unwrap();
        let json = interpret(&format!("{} json", command.example));
        assert_eq!(json, Ok(Exec::Json(Box::new(text))), "{}", command.example);
    }
    assert!(seen >= 14, "only {seen}");
}
