//! The engine on a table of its own.

use super::*;

const TABLE: &[Command<&str>] = &[
    Command {
        pattern: &[
            keyword("show", "Show"),
            keyword("port", "One"),
            value("N", Kind::Number(1, 99), "Port"),
        ],
        no: false,
        example: "show port 5",
        meaning: "port",
    },
    Command {
        pattern: &[
            keyword("show", "Show"),
            keyword("ports", "All"),
            Part::Optional(&[keyword("verbose", "More")]),
        ],
        no: false,
        example: "show ports",
        meaning: "ports",
    },
    Command {
        pattern: &[
            keyword("set", "Set"),
            Part::OneOf(&[
                &[keyword("host", "One"), value("A", Kind::Address, "Address")],
                &[keyword("any", "All")],
            ]),
            Part::NoEnds,
            value("TEXT", Kind::Line, "Text"),
        ],
        no: true,
        example: "set any thing at all",
        meaning: "set",
    },
];

fn meaning(line: &str) -> Result<(&'static str, Args), Problem> {
    parse(TABLE, line).map(|(command, args)| (command.meaning, args))
}

fn names(expected: &Expected) -> Vec<String> {
    expected.tokens.iter().map(Token::to_string).collect()
}

#[test]
fn an_exact_keyword_beats_an_abbreviation() {
    assert_eq!(meaning("show port 5").map(|m| m.0), Ok("port"));
    assert_eq!(meaning("SH PORTS v").map(|m| m.0), Ok("ports"));
    let problem = meaning("sh po 5").unwrap_err();
    assert_eq!((problem.fault, problem.column), (Fault::Ambiguous, 3));
    assert_eq!(names(&problem.expected), ["port", "ports"]);
}

#[test]
fn a_line_takes_the_rest_with_its_spaces() {
    let (_, args) = meaning(" set  any   one  two ").unwrap();
    assert_eq!(args.text("TEXT"), Some("one  two"));
    assert_eq!(args.column("TEXT"), 12);
}

#[test]
fn no_may_end_where_the_pattern_says_and_nowhere_else() {
    let (command, args) = meaning("no set host 1.2.3.4").unwrap();
    assert_eq!(
        (command, args.no, args.address("A")),
        ("set", true, Some([1, 2, 3, 4].into()))
    );
    assert_eq!(
        meaning("set host 1.2.3.4").unwrap_err().fault,
        Fault::Incomplete
    );
    assert_eq!(meaning("no set host").unwrap_err().fault, Fault::Incomplete);
    assert_eq!(
        meaning("no show ports").unwrap_err().column,
        4,
        "`s` of `set`"
    );
}

#[test]
fn the_caret_is_under_the_first_character_that_fits_nothing() {
    let column = |line| meaning(line).map_err(|problem| problem.column).unwrap_err();
    assert_eq!(column("shaw ports"), 2);
    assert_eq!(column("show port 100"), 10);
    assert_eq!(column("show port +5"), 10);
    assert_eq!(column("show ports verbose now"), 19);
    assert_eq!(column("set höst"), 5);
    assert_eq!(
        meaning("shaw").unwrap_err().marked(7),
        format!(
            "{}^\n% Invalid input detected at '^' marker.",
            " ".repeat(9)
        )
    );
}

#[test]
fn every_place_knows_what_may_come_next() {
    let next = |line| expected(TABLE, line).map(|e| (names(&e), e.end));
    let list = |tokens: &[&str]| tokens.iter().map(|t| t.to_string()).collect::<Vec<_>>();
    assert_eq!(next(""), Ok((list(&["show", "no", "set"]), false)));
    assert_eq!(next("s"), Ok((list(&["show", "set"]), false)));
    assert_eq!(next("show ports "), Ok((list(&["verbose"]), true)));
    assert_eq!(next("show port "), Ok((list(&["<1-99>"]), false)));
    assert_eq!(next("no set any "), Ok((list(&["LINE"]), true)));
    assert_eq!(next("set any some text "), Ok((list(&[]), true)));
    assert!(next("sit ").is_err());
}
