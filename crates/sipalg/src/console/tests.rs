//! The console over real Unix sockets, without a poll: it never waits.

use super::*;
use mio::Poll;
use sipalg_ios::Startup;
use sipalg_ios::exec::DebugWhat;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

struct Desk {
    console: Console,
    poll: Poll,
    folder: PathBuf,
}

impl Desk {
    fn open(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("sipalg-{name}-{}", std::process::id()));
        let console = Console::bind(&folder.join("made/console.sock"), None).unwrap();
        Desk {
            console,
            poll: Poll::new().unwrap(),
            folder,
        }
    }

    fn connect(&mut self) -> StdUnixStream {
        let stream = StdUnixStream::connect(&self.console.path).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        self.console.accept(self.poll.registry());
        stream
    }

    /// Says `text`, and has the session go on as it is.
    fn answer(&mut self, key: usize, text: &str) {
        let (session, watch) = self.console.session(key).unwrap();
        let ask = session.ask(&Startup::default());
        self.console.answer(key, text, (session, watch), &ask);
    }

    /// What a session that has said this watches.
    fn watch(&mut self, key: usize, debug: bool, monitor: Monitor) {
        let (session, _) = self.console.session(key).unwrap();
        let client = &mut self.console.clients[key];
        let debug = debug.then(|| {
            Rc::new(Debug {
                what: DebugWhat::default(),
                flows: Selection::All,
            })
        });
        let watch = Watch {
            debug,
            monitor,
            ..Watch::default()
        };
        (client.session, client.watch) = (session, watch);
    }

    /// Who watches anything.
    fn watchers(&self) -> Vec<usize> {
        let watchers = self.console.watchers();
        watchers.into_iter().map(|(key, _)| key).collect()
    }

    /// Shows a line to all who watch.
    fn debug(&mut self, stamp: &str, line: &str) {
        for key in self.watchers() {
            self.console.debug(key, stamp, line);
        }
    }

    /// The key of the only client.
    fn client(&self) -> usize {
        self.console.clients.iter().next().unwrap().0
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Everything up to the end of an answer, as it comes.
fn read_raw(stream: &mut StdUnixStream) -> String {
    let mut answer = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).unwrap() == 1 && byte[0] != NUL {
        answer.push(byte[0]);
    }
    String::from_utf8(answer).unwrap()
}

/// The same without the marks and the session's state.
fn read_answer(stream: &mut StdUnixStream) -> String {
    let raw = read_raw(stream);
    let text = raw.strip_suffix("\x02command - Device>").unwrap();
    text.replace('\x1e', "")
}

#[test]
fn commands_are_answered_in_order_however_they_are_cut() {
    let mut desk = Desk::open("order");
    let mut stream = desk.connect();
    let key = desk.client();
    stream.write_all(b"one\r\ntwo\nthr").unwrap();
    desk.console.ready(key);
    assert_eq!(desk.console.next_command(), Some((key, "one".into())));
    desk.answer(key, "first\n");
    assert_eq!(desk.console.next_command(), Some((key, "two".into())));
    desk.answer(key, "sec\0ond\n");
    assert_eq!(desk.console.next_command(), None);
    stream.write_all(b"ee\n").unwrap();
    desk.console.ready(key);
    assert_eq!(desk.console.next_command(), Some((key, "three".into())));
    desk.console.flush();
    assert_eq!(read_answer(&mut stream), "first\n");
    assert_eq!(
        read_answer(&mut stream),
        "second\n",
        "a NUL inside would end the answer early"
    );
}

#[test]
fn only_those_who_asked_get_debug_lines() {
    let mut desk = Desk::open("debug");
    let mut watcher = desk.connect();
    let key = desk.client();
    let mut other = desk.connect();
    assert!(desk.watchers().is_empty());
    desk.watch(key, true, Monitor::Own);
    assert_eq!(desk.watchers(), [key]);
    desk.debug("May 23 14:11:17.243 IST", "NAT: SIP: Contact header found");
    let other_key = desk
        .console
        .clients
        .iter()
        .map(|(key, _)| key)
        .find(|k| *k != key)
        .unwrap();
    desk.answer(other_key, "fine\n");
    desk.answer(key, "");
    desk.console.flush();
    let line = "May 23 14:11:17.243 IST: NAT: SIP: Contact header found\n";
    assert_eq!(read_answer(&mut watcher), line);
    assert_eq!(read_answer(&mut other), "fine\n");
    desk.watch(key, false, Monitor::Own);
    assert!(desk.watchers().is_empty());
}

#[test]
fn an_answer_ends_with_what_the_session_waits_for_and_nothing_in_it_can_end_it_early() {
    let mut desk = Desk::open("state");
    let mut stream = desk.connect();
    let key = desk.client();
    let (mut session, watch) = desk.console.session(key).unwrap();
    let startup = Startup {
        hostname: Some("gw\x02\0".into()),
        ..Startup::default()
    };
    session.line("terminal length 24", &startup);
    session.line("enable", &startup);
    let ask = session.ask(&startup);
    desk.console
        .answer(key, "a\0b\x02c\x1ed\n", (session, watch), &ask);
    desk.watch(key, true, Monitor::Own);
    desk.console.debug(key, "now", "line");
    desk.answer(key, "");
    desk.console.flush();
    assert_eq!(read_raw(&mut stream), "abcd\n\x02command 24 gw#");
    assert_eq!(
        read_raw(&mut stream),
        "\x1enow: line\n\x02command 24 Device#"
    );
}

#[test]
fn terminal_monitor_shows_what_others_debug_and_its_no_form_hides_ones_own() {
    let mut desk = Desk::open("monitor");
    let _one = desk.connect();
    let one = desk.client();
    let _two = desk.connect();
    let two = desk
        .console
        .clients
        .iter()
        .map(|(key, _)| key)
        .find(|key| *key != one);
    let two = two.unwrap();
    let mut seen = |watches: [(bool, Monitor); 2]| {
        for (key, (debug, monitor)) in [one, two].into_iter().zip(watches) {
            desk.watch(key, debug, monitor);
            desk.console.clients[key].output.clear();
        }
        let watched = !desk.watchers().is_empty();
        desk.debug("now", "line");
        let shown = |key: usize| !desk.console.clients[key].output.is_empty();
        (watched, shown(one), shown(two))
    };
    use Monitor::{All, Nothing, Own};
    assert_eq!(seen([(true, Own), (false, Own)]), (true, true, false));
    assert_eq!(seen([(true, Own), (false, All)]), (true, true, true));
    assert_eq!(seen([(true, Nothing), (false, All)]), (true, false, true));
    assert_eq!(seen([(true, Nothing), (false, Own)]), (false, false, false));
    assert_eq!(seen([(false, Own), (false, All)]), (false, false, false));
}

#[test]
fn a_slow_reader_loses_lines_with_a_count_and_bounded_memory() {
    let mut desk = Desk::open("slow");
    let mut stream = desk.connect();
    let key = desk.client();
    desk.watch(key, true, Monitor::Own);
    let line = "x".repeat(1000);
    for _ in 0..10_000 {
        desk.console.debug(key, "now", &line);
        desk.console.flush();
    }
    let client = &desk.console.clients[key];
    assert!(client.output.len() <= WAITING_LIMIT);
    let dropped = client.dropped;
    assert!(dropped > 0);
    let mut seen = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !desk.console.clients[key].output.is_empty() {
        assert!(Instant::now() < deadline);
        let mut buffer = [0; 65536];
        let read = stream.read(&mut buffer).unwrap();
        seen.extend_from_slice(&buffer[..read]);
        desk.console.flush();
    }
    desk.console.debug(key, "now", "after");
    desk.answer(key, "");
    desk.console.flush();
    let tail = read_answer(&mut stream);
    let expected = format!("now: %SIPALG-4-DROPPED: {dropped} debug lines\nnow: after\n");
    assert!(
        tail.ends_with(&expected),
        "{}",
        &tail[tail.len().saturating_sub(200)..]
    );
}

#[test]
fn a_client_that_says_no_more_goes_when_all_is_answered() {
    let mut desk = Desk::open("end");
    let mut stream = desk.connect();
    let key = desk.client();
    stream.write_all(b"show\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    desk.console.ready(key);
    desk.console.flush();
    assert_eq!(desk.console.clients(), 1);
    assert_eq!(desk.console.next_command(), Some((key, "show".into())));
    desk.answer(key, "answer\n");
    desk.console.flush();
    assert_eq!(desk.console.clients(), 0);
    assert_eq!(read_answer(&mut stream), "answer\n");
}

#[test]
fn a_client_that_sends_without_end_is_cut_off() {
    let mut desk = Desk::open("flood");
    let mut stream = desk.connect();
    let key = desk.client();
    let deadline = Instant::now() + Duration::from_secs(10);
    while desk.console.clients() == 1 {
        assert!(Instant::now() < deadline);
        // Fails in the end, since the other side closes.
        let _ = stream.write(&[b'x'; 8192]);
        desk.console.ready(key);
        desk.console.flush();
    }
}

#[test]
fn the_socket_is_for_its_owner_and_group_and_goes_with_the_console() {
    let desk = Desk::open("mode");
    let path = desk.console.path.clone();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o660
    );
    drop(desk);
    assert!(!path.exists());
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let desk = Desk::open("stale");
    let path = desk.console.path.clone();
    assert_eq!(
        Console::bind(&path, None).unwrap_err().kind(),
        ErrorKind::AddrInUse
    );
    let stale = desk.folder.join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    assert!(stale.exists());
    Console::bind(&stale, None).unwrap();
    let file = desk.folder.join("file");
    fs::write(&file, "mine").unwrap();
    assert_eq!(
        Console::bind(&file, None).unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
}
