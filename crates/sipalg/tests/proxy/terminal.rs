//! `sipalg console` as its operator sees it: keys typed into a real terminal (tmux), and the exact
//! screen.

use crate::running::Running;
use crate::screen::Screen;
use crate::tcp::{connected, hears, says};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;

laws![
    a_session_begins_as_a_user_and_leaves_by_exit,
    the_procedure_of_the_reference_document_works_as_printed,
    help_comes_with_the_key_and_leaves_the_line_as_it_is,
    tab_completes_words,
    errors_have_their_mark_under_the_offence,
    lines_are_edited_and_remembered,
    control_z_and_control_c_leave_configuration,
    each_line_of_what_is_pasted_is_carried_out,
    long_answers_come_in_pages,
    output_is_filtered,
    a_secret_is_never_shown,
    debug_lines_come_over_the_prompt_and_spare_what_is_typed,
    several_consoles_share_one_configuration_and_each_has_its_debugging,
    what_waits_for_lines_to_come_says_so_and_then_works,
    the_configuration_is_saved_and_shown_and_gone_back_to,
    a_configuration_is_replaced_as_a_whole_or_not_at_all,
    the_end_of_the_gateway_is_seen,
    the_terminal_is_left_as_it_was,
];

fn a_session_begins_as_a_user_and_leaves_by_exit() {
    let (_gateway, running) = Running::start();
    let screen = Screen::open(&running);
    screen.line("show privilege", "gw>");
    screen.line("configure terminal", "gw>");
    screen.line("enable", "gw#");
    screen.line("show privilege", "gw#");
    screen.line("exit", "status 0");
    screen.is("\
gw>show privilege
Current privilege level is 1
gw>configure terminal
   ^
% Invalid input detected at '^' marker.
gw>enable
gw#show privilege
Current privilege level is 15
gw#exit
status 0");
}

fn the_procedure_of_the_reference_document_works_as_printed() {
    let (gateway, running) = Running::start();
    let screen = Screen::open(&running);
    screen.line("enable", "gw#");
    screen.line("configure terminal", "gw(config)#");
    screen.line("ip nat service sip tcp port 8001", "gw(config)#");
    screen.line("end", "gw#");
    screen.line("debug ip nat sip", "gw#");
    screen.is("\
gw>enable
gw#configure terminal
Enter configuration commands, one per line.  End with CNTL/Z.
gw(config)#ip nat service sip tcp port 8001
gw(config)#end
gw#debug ip nat sip
IP NAT SIP debugging is on
gw#");
    let (mut phone, mut outside) = connected(&gateway);
    let message = b"OPTIONS sip:x SIP/2.0\r\nContent-Length: 0\r\n\r\n";
    says(&mut phone, message);
    hears(&mut outside, message);
    screen.shows("Complete buffer written to proxy\ngw#");
    assert!(
        screen
            .now()
            .contains(": NAT: SIP: [0] processing OPTIONS message\n")
    );
}

fn help_comes_with_the_key_and_leaves_the_line_as_it_is() {
    let (_gateway, running) = Running::start();
    let screen = Screen::open(&running);
    screen.text("show ip nat ?");
    screen.shows("gw>show ip nat");
    screen.text("s?");
    screen.shows("gw>show ip nat s");
    screen.text("t ?");
    screen.shows("gw>show ip nat st");
    screen.text("| inc ?");
    screen.shows("gw>show ip nat st | inc");
    screen.is("\
gw>show ip nat ?
  pool          Pools and how much of them is in use
  sip           SIP application layer gateway
  statistics    Translation statistics
  translations  Translation entries
gw>show ip nat s?
sip         statistics
gw>show ip nat st ?
  json  As JSON
  |     Output modifiers
  <cr>
gw>show ip nat st | inc ?
  LINE  Regular Expression
gw>show ip nat st | inc");
    screen.keys(&["C-u"]);
    screen.text("nonsense ?");
    screen.shows("% Unrecognized command\ngw>nonsense");
    // Quoted, it is a part of the line.
    screen.keys(&["C-u"]);
    screen.text("nonsense a");
    screen.keys(&["C-v", "?"]);
    screen.shows("gw>nonsense a?");
    // In the middle of a line, what is left of the cursor counts, and all of it stays.
    screen.keys(&["C-u"]);
    screen.text("show version");
    screen.keys(&["Home", "M-f", "?"]);
    screen.shows("show\ngw>show version");
}

fn tab_completes_words() {
    let (_gateway, running) = Running::start();
    let screen = Screen::open(&running);
    for word in ["sh", "i", "n", "st"] {
        screen.text(word);
        screen.keys(&["Tab"]);
    }
    screen.shows("gw>show ip nat statistics");
    screen.keys(&["C-u"]);
    screen.text("e");
    screen.keys(&["Tab"]);
    screen.text("n");
    screen.keys(&["Tab"]);
    screen.shows("gw>enable");
    screen.keys(&["Enter"]);
    screen.is("gw>enable\ngw#");
}

fn errors_have_their_mark_under_the_offence() {
    let (_gateway, running) = Running::start();
    let screen = Screen::open(&running);
    screen.line("show ip nut", "gw>");
    screen.line("show ip", "gw>");
    screen.line("sh ip nat s", "gw>");
    screen.line("enable", "gw#");
    screen.line("conf t", "gw(config)#");
    screen.line("ip nat service sip tcp port 65536", "gw(config)#");
    screen.line("interface gin", "gw(config-if)#");
    screen.line("ip nat outside", "gw(config-if)#");
    screen.line("ip access-list standard LAN", "gw(config-std-nacl)#");
    screen.line("permit any any", "gw(config-std-nacl)#");
    screen.is("\
gw>show ip nut
            ^
% Invalid input detected at '^' marker.
gw>show ip
% Incomplete command.
gw>sh ip nat s
% Ambiguous command:  \"sh ip nat s\"
gw>enable
gw#conf t
Enter configuration commands, one per line.  End with CNTL/Z.
gw(config)#ip nat service sip tcp port 65536
                                       ^
% Invalid input detected at '^' marker.
gw(config)#interface gin
gw(config-if)#ip nat outside
% interface gin is already `ip nat inside`
gw(config-if)#ip access-list standard LAN
gw(config-std-nacl)#permit any any
                               ^
% Invalid input detected at '^' marker.
gw(config-std-nacl)#");
}

fn lines_are_edited_and_remembered() {
    let (_gateway, running) = Running::start();
    let screen = Screen::open(&running);
    screen.text("ow privilege");
    screen.keys(&["C-a"]);
    screen.text("sh");
    screen.keys(&["C-e", "Enter"]);
    screen.shows("level is 1\ngw>");
    screen.line("enable", "gw#");
    screen.keys(&["Up", "Up", "Enter"]);
    screen.shows("level is 15\ngw#");
    screen.keys(&["C-r"]);
    screen.text("ena");
    screen.shows("`ena': enable");
    screen.keys(&["Enter"]);
    screen.is("\
gw>show privilege
Current privilege level is 1
gw>enable
gw#show privilege
Current privilege level is 15
gw#enable
gw#");
}

fn control_z_and_control_c_leave_configuration() {
    let (_gateway, running) = Running::start();
    let screen = Screen::open(&running);
    screen.line("enable", "gw#");
    screen.line("conf t", "gw(config)#");
    screen.line("interface gin", "gw(config-if)#");
    screen.keys(&["C-z"]);
    screen.shows("\ngw#");
    screen.line("conf t", "gw(config)#");
    screen.text("ip nat service sip tcp port 9000");
    screen.keys(&["C-z"]);
    screen.shows("9000\ngw#");
    screen.line("conf t", "gw(config)#");
    screen.text("half a li");
    screen.keys(&["C-c"]);
    screen.shows("\ngw#");
    screen.line("show running-config | include port 9000", "9000\ngw#");
}

fn each_line_of_what_is_pasted_is_carried_out() {
    let (_gateway, running) = Running::start();
    let screen = Screen::open(&running);
    let pasted = "enable\nconf t\ninterface gin\n no ip nat inside\n ip nat inside\n!\nip nat \
                  service sip tcp port 9000\nend\nshow run | section gin$\n";
    screen.tmux(&["set-buffer", pasted]);
    screen.tmux(&["paste-buffer", "-p"]);
    screen.is("\
gw>enable
gw#conf t
Enter configuration commands, one per line.  End with CNTL/Z.
gw(config)#interface gin
gw(config-if)# no ip nat inside
gw(config-if)# ip nat inside
gw(config-if)#!
gw(config-if)#ip nat service sip tcp port 9000
gw(config)#end
gw#show run | section gin$
interface gin
 ip nat inside
gw#");
}

fn long_answers_come_in_pages() {
    let (_gateway, running) = Running::start();
    let screen = Screen::of(&running, 12);
    screen.line("enable", "gw#");
    screen.line("terminal length 4", "gw#");
    screen.text("show running-config | include i");
    screen.keys(&["Enter"]);
    screen.shows("interface gin\n --More--");
    screen.keys(&["Enter"]);
    screen.shows("interface gin\n ip nat inside\n --More--");
    screen.keys(&["Space"]);
    screen.shows("interface gout\n --More--");
    screen.keys(&["q"]);
    screen.shows("interface gout\ngw#");
    screen.line("terminal length 0", "gw#");
    screen.line("show running-config | include interface", "overload\ngw#");
    screen.line("no terminal length", "gw#");
}

fn output_is_filtered() {
    let (_gateway, running) = Running::start();
    let screen = Screen::open(&running);
    screen.line("enable", "gw#");
    screen.line("show run | section gout$", "gw#");
    screen.line("show run | include (in|out)side$", "gw#");
    screen.line("show run | begin ^access", "gw#");
    screen.line("show run | include (", "gw#");
    screen.line("enable | include x", "gw#");
    screen.is("\
gw>enable
gw#show run | section gout$
interface gout
 ip nat outside
gw#show run | include (in|out)side$
 ip nat inside
 ip nat inside
 ip nat outside
gw#show run | begin ^access
access-list 1 permit 192.168.122.0 0.0.1.255
!
end
gw#show run | include (
% the regular expression is wrong: found open group without closing ')'
gw#enable | include x
          ^
% Invalid input detected at '^' marker.
gw#");
}

fn a_secret_is_never_shown() {
    let (_gateway, running) = Running::start();
    let screen = Screen::open(&running);
    screen.line("enable", "gw#");
    screen.line("conf t", "gw(config)#");
    screen.line("enable secret kame", "gw(config)#");
    screen.line("do disable", "gw>");
    screen.keys(&["C-l"]);
    screen.is("gw>");
    screen.line("enable", "Password:");
    // The others are typed ahead, and are not shown for it.
    screen.text("turtle\nkam\nKame\n");
    screen.shows("% Bad secrets\n\ngw>");
    screen.line("enable", "Password:");
    screen.text("kamel");
    screen.keys(&["BSpace", "Enter"]);
    screen.shows("\ngw#");
    screen.is("\
gw>enable
Password:
Password:
Password:
% Bad secrets

gw>enable
Password:
gw#");
    screen.line("show run | include secret", "gw#");
    assert!(
        screen.now().contains("\nenable secret 5 $5$"),
        "{}",
        screen.now()
    );
    assert!(!screen.now().contains("kame"));
    // A script without the secret may look, and no more.
    let asked = |commands: &[&str]| {
        let mut console = running.console();
        for command in commands {
            console.args(["-c", command]);
        }
        let output = console.output().unwrap();
        (
            String::from_utf8(output.stdout).unwrap(),
            output.status.success(),
        )
    };
    assert!(!asked(&["show running-config"]).1);
    assert!(!asked(&["enable"]).1);
    let (text, right) = asked(&["enable", "kame", "show privilege"]);
    assert!(right && text.ends_with("is 15\n"), "{text}");
}

fn debug_lines_come_over_the_prompt_and_spare_what_is_typed() {
    let (gateway, running) = Running::start();
    let (mut phone, mut outside) = connected(&gateway);
    let screen = Screen::open(&running);
    screen.line("enable", "gw#");
    screen.line("debug ip nat sip", "gw#");
    screen.text("show priv");
    let message = b"OPTIONS sip:x SIP/2.0\r\nContent-Length: 0\r\n\r\n";
    says(&mut phone, message);
    hears(&mut outside, message);
    screen.shows("Complete buffer written to proxy\ngw#show priv");
    screen.line("", "level is 15\ngw#");
    screen.line("undebug all", "gw#");
    let before = screen.now();
    says(&mut phone, message);
    hears(&mut outside, message);
    assert_eq!(screen.now(), before);
}

fn several_consoles_share_one_configuration_and_each_has_its_debugging() {
    let (gateway, running) = Running::start();
    let (one, two) = (Screen::open(&running), Screen::open(&running));
    for screen in [&one, &two] {
        screen.line("enable", "gw#");
    }
    one.line("conf t", "gw(config)#");
    one.line("hostname gwen", "gwen(config)#");
    two.line("conf t", "gwen(config)#");
    two.line("hostname gw", "gw(config)#");
    two.line("end", "gw#");
    one.line("end", "gw#");
    one.line("debug ip nat sip", "gw#");
    let (mut phone, mut outside) = connected(&gateway);
    let message = b"OPTIONS sip:x SIP/2.0\r\nContent-Length: 0\r\n\r\n";
    says(&mut phone, message);
    hears(&mut outside, message);
    one.shows("Complete buffer written to proxy\ngw#");
    assert!(!two.now().contains("proxy"));
    two.line("terminal monitor", "gw#");
    one.line("terminal no monitor", "gw#");
    let before = one.now();
    says(&mut phone, message);
    hears(&mut outside, message);
    two.shows("Complete buffer written to proxy\ngw#");
    assert_eq!(one.now(), before);
}

fn what_waits_for_lines_to_come_says_so_and_then_works() {
    let (_gateway, running) = Running::start();
    let screen = Screen::open(&running);
    screen.line("enable", "gw#");
    screen.line("conf t", "gw(config)#");
    screen.line(
        "ip nat inside source list 2 interface gout overload",
        "gw(config)#",
    );
    screen.line("do write memory", "gw(config)#");
    screen.line("access-list 2 permit 10.0.0.0 0.255.255.255", "gw(config)#");
    screen.line("do write memory", "gw(config)#");
    screen.is("\
gw>enable
gw#conf t
Enter configuration commands, one per line.  End with CNTL/Z.
gw(config)#ip nat inside source list 2 interface gout overload
%SIPALG-4-PENDING: access list 2 does not exist
gw(config)#do write memory
% not saved, since the gateway would not start with it: access list 2 does not e
xist
gw(config)#access-list 2 permit 10.0.0.0 0.255.255.255
gw(config)#do write memory
Building configuration...
[OK]
gw(config)#");
}

fn the_configuration_is_saved_and_shown_and_gone_back_to() {
    let (_gateway, running) = Running::start();
    let screen = Screen::of(&running, 40);
    screen.line("enable", "gw#");
    screen.line("copy running-config startup-config", "[OK]\ngw#");
    let saved = fs::read_to_string(running.startup_config()).unwrap();
    screen.line("conf t", "gw(config)#");
    screen.line("no ip nat service sip tcp port 8000", "gw(config)#");
    screen.line("hostname other", "other(config)#");
    screen.line("end", "other#");
    screen.text("reload");
    screen.keys(&["Enter"]);
    screen.shows("Proceed with reload? [confirm]");
    screen.keys(&["n"]);
    screen.shows("[confirm]\nother#");
    screen.text("reload");
    screen.keys(&["Enter"]);
    screen.shows("reload\nProceed with reload? [confirm]");
    screen.keys(&["Enter"]);
    screen.shows("[OK]\ngw#");
    screen.keys(&["C-l"]);
    screen.is("gw#");
    screen.line("show startup-config", "end\ngw#");
    let shown = format!(
        "gw#show startup-config\nUsing {} bytes\n{saved}gw#",
        saved.len()
    );
    screen.is(&shown);
    screen.keys(&["C-l"]);
    screen.is("gw#");
    screen.line("show running-config | begin ^!", "end\ngw#");
    screen.is(&format!("gw#show running-config | begin ^!\n{saved}gw#"));
}

fn a_configuration_is_replaced_as_a_whole_or_not_at_all() {
    let (_gateway, running) = Running::start();
    let folder = running.startup_config().parent().unwrap().to_owned();
    let text = fs::read_to_string(running.startup_config()).unwrap();
    fs::write(
        folder.join("good"),
        text.replace("hostname gw", "hostname good"),
    )
    .unwrap();
    fs::write(
        folder.join("bad"),
        text.replace("hostname gw", "hostname bad\nnonsense"),
    )
    .unwrap();
    fs::write(
        folder.join("elsewhere"),
        text.replace("interface gin2", "interface wan"),
    )
    .unwrap();
    let screen = Screen::open(&running);
    screen.line("enable", "gw#");
    screen.line("terminal width 200", "gw#");
    let refused = |name: &str, why: &str| {
        screen.line(&format!("configure replace {name} force"), "gw#");
        let seen = screen.tmux(&["capture-pane", "-p", "-J"]);
        assert!(seen.contains(why), "{seen}");
    };
    refused(
        "bad",
        "bad, line 2, column 3: invalid input; nothing has changed\n",
    );
    refused("elsewhere", "there is no interface wan on this host");
    refused("nowhere", "No such file or directory");
    screen.text("configure replace good");
    screen.keys(&["Enter"]);
    screen.shows("if you are sure you want to proceed. ? [no]:");
    screen.line("", "gw#");
    screen.text("configure replace good");
    screen.keys(&["Enter"]);
    screen.shows("if you are sure you want to proceed. ? [no]:");
    screen.line("y", "Rollback Done\ngood#");
}

fn the_end_of_the_gateway_is_seen() {
    let (_gateway, running) = Running::start();
    let screen = Screen::open(&running);
    running.stop();
    screen.shows("% The gateway has closed the connection\ngw>");
    screen.line("show version", "status 1");
}

fn the_terminal_is_left_as_it_was() {
    let (_gateway, running) = Running::start();
    let left = Screen::open(&running);
    left.line("exit", "status 0");
    left.text("is seen");
    left.shows("status 0\nis seen");
    let killed = Screen::open(&running);
    let shell = killed.tmux(&["display-message", "-p", "#{pane_pid}"]);
    let shell = shell.trim();
    let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
    let console = Pid::from_raw(children.trim().parse().unwrap());
    kill(console, Signal::SIGTERM).unwrap();
    killed.shows("status 143");
    killed.text("is seen");
    killed.shows("status 143\nis seen");
}
