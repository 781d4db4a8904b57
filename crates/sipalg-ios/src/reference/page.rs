//! The manual page sipalg.conf(5), in the man macros of roff.

use super::{Entry, entries};
use crate::commands::{EXTENDED_LIST, GLOBAL, INTERFACE, LIST};

const HEAD: &str = r#".SH NAME
sipalg.conf \- startup configuration of the SIP gateway sipalg
.SH DESCRIPTION
The configuration is a text of IOS commands, one in a line. Lines that begin with ! are comments.
Keywords may be abbreviated. Names of interfaces are Linux's.
.PP
.BR sipalg\-run (8)
reads it at its start and on SIGHUP;
.BR sipalg\-check (8)
says all that is wrong with it. What is typed in configuration mode of
.BR sipalg\-console (8)
are the same commands;
.B write memory
saves them there.
.PP
Below, words in capitals stand for values, [ ] may be left out, of { | } one is chosen.
.SH EXAMPLE
.nf
interface eth1
 ip nat inside
interface eth0
 ip nat outside
!
access\-list 1 permit 192.168.122.0 0.0.0.255
ip nat inside source list 1 interface eth0 overload
.fi
"#;

/// The page, of that version of the program.
pub fn page(version: &str) -> String {
    let mut text = format!(".TH SIPALG.CONF 5 \"\" \"sipalg {version}\"\n{HEAD}");
    let modes = [
        ("GLOBAL CONFIGURATION", entries(GLOBAL)),
        ("INTERFACE CONFIGURATION", entries(INTERFACE)),
        ("STANDARD ACCESS LIST", entries(LIST)),
        ("EXTENDED ACCESS LIST", entries(EXTENDED_LIST)),
    ];
    for (title, entries) in modes {
        text += &format!(".SH {title}\n");
        entries.iter().for_each(|entry| text += &command(entry));
    }
    text + ".SH SEE ALSO\n.BR sipalg (8),\n.BR sipalg\\-check (8)\n"
}

fn command(entry: &Entry) -> String {
    let (title, help) = (escaped(&entry.title), escaped(entry.help));
    let mut text = format!(".SS {title}\n{help}.\n.PP\n.nf\n");
    for form in &entry.forms {
        text += &format!("{}\n", escaped(form));
    }
    text += ".fi\n";
    for word in &entry.words {
        let (name, help) = (escaped(word.name), escaped(word.help));
        let kind = word.kind.as_ref().map(|kind| format!(" {}", escaped(kind)));
        text += &format!(".TP\n\\fB{name}\\fR{}\n{help}\n", kind.unwrap_or_default());
    }
    text + &format!(".PP\nExample: {}\n", escaped(entry.example))
}

/// Text that is no markup: a hyphen is not to be hyphenated at, and no line begins with a control
/// character.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_a_configuration_is_in_the_page() {
        let page = page("1.2.3");
        assert!(page.starts_with(".TH SIPALG.CONF 5 \"\" \"sipalg 1.2.3\"\n"));
        for entry in entries(GLOBAL).iter().chain(&entries(INTERFACE)) {
            for form in &entry.forms {
                let line = format!("\n{}\n", escaped(form));
                assert!(page.contains(&line), "no {form}");
            }
        }
    }

    #[test]
    fn no_text_is_taken_for_markup() {
        assert_eq!(escaped(".so a-b\\c"), "\\&.so a\\-b\\ec");
    }
}
