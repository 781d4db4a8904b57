//! baresip, a real phone.

use super::Folder;
use super::net::Host;
use super::process::Process;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

/// A phone that is registered. It answers every call at once.
#[derive(Debug)]
pub struct Baresip {
    process: Process,
    control: TcpStream,
    _folder: Folder,
}

/// Whose phone it is.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The user, at the registrar.
    pub user: &'a str,
    /// Where the user is registered.
    pub registrar: Ipv4Addr,
    /// `tcp` or `udp`, for SIP.
    pub transport: &'a str,
    /// The ports it takes for RTP and RTCP: from, to.
    pub media: (u16, u16),
}

/// How many RTP packets a phone sent and received in a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Audio {
    /// Said.
    pub sent: u64,
    /// Heard.
    pub received: u64,
    /// What its RTP stack complains about.
    pub errors: u64,
}

impl Baresip {
    /// Starts `user`'s phone on a host, with SIP over TCP, and waits until the registrar has accepted
    /// it.
    pub fn start(host: &Host, address: Ipv4Addr, user: &str, registrar: Ipv4Addr) -> Self {
        Baresip::start_over("tcp", host, address, user, registrar)
    }

    /// The same with SIP over `transport`.
    pub fn start_over(
        transport: &str,
        host: &Host,
        address: Ipv4Addr,
        user: &str,
        registrar: Ipv4Addr,
    ) -> Self {
        let line = Line {
            user,
            registrar,
            transport,
            media: (4000, 4099),
        };
        Baresip::start_line(host, address, line)
    }

    /// The same for a line.
    pub fn start_line(host: &Host, address: Ipv4Addr, line: Line) -> Self {
        let Line {
            user,
            registrar,
            transport,
            media: (from, to),
        } = line;
        let folder = Folder::new();
        let tone = folder.write("tone.wav", tone());
        let config = include_str!("baresip.config")
            .replace("ADDRESS", &address.to_string())
            .replace("TRANSPORT", transport)
            .replace("MEDIA", &format!("{from}-{to}"))
            .replace("TONE", tone.to_str().expect("a plain path"));
        folder.write("config", config);
        folder.write(
            "accounts",
            format!("<sip:{user}@{registrar};transport={transport}>;regint=600;answermode=auto\n"),
        );
        folder.write("contacts", "");
        let mut command = Command::new("baresip");
        command.args(["-4", "-f"]).arg(folder.itself());
        let mut process = Process::start(host, &mut command);
        process.wait_for("200 OK");
        let control = host.run(|| TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], 4444))));
        Baresip {
            process,
            control: control.expect("baresip's control socket"),
            _folder: folder,
        }
    }

    /// Calls somebody and waits until the call is established.
    pub fn call(&mut self, uri: &str) {
        self.command("dial", uri);
        self.process.wait_for("Call established");
    }

    /// Waits until a call that somebody made to it is established.
    pub fn wait_for_call(&mut self) {
        self.process.wait_for("Call established");
    }

    /// Waits until it has heard and said that many packets in the call it is in.
    pub fn wait_for_audio(&mut self, packets: u64) {
        super::until("audio", || {
            let debug = self.command("audio_debug", "");
            let heard = number_after(&debug, "rcvd=")?;
            let said = number_after(&debug, "TX: packets=")?;
            (heard >= packets && said >= packets).then_some(())
        });
    }

    /// Hangs up.
    pub fn hang_up(&mut self) -> Audio {
        self.command("hangup", "");
        self.wait_for_end()
    }

    /// Waits until the other side has hung up.
    pub fn wait_for_end(&mut self) -> Audio {
        let mut numbers = |line: &str| -> Vec<u64> {
            let line = self.process.wait_for(line);
            let words = line.split_whitespace();
            words.filter_map(|word| word.parse().ok()).collect()
        };
        let (counts, errors) = (numbers("packets:"), numbers("errors:"));
        Audio {
            sent: counts[0],
            received: counts[1],
            errors: errors.iter().sum(),
        }
    }

    /// Gives it a command, and returns its answer.
    fn command(&mut self, command: &str, parameter: &str) -> String {
        let token = format!("{command}{parameter}");
        let json = format!(r#"{{"command":"{command}","params":"{parameter}","token":"{token}"}}"#);
        write!(self.control, "{}:{json},", json.len()).expect("to command");
        let end = r#""response":true"#;
        loop {
            let answer = self.netstring();
            if answer.contains(end) && answer.contains(&token) {
                return answer;
            }
        }
    }

    /// The next answer or event: a length, a colon, JSON, a comma.
    fn netstring(&mut self) -> String {
        let mut control = &self.control;
        control
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a timeout");
        let mut length = 0;
        loop {
            let mut digit = [0];
            control.read_exact(&mut digit).expect("an answer");
            match digit[0] {
                b':' => break,
                digit => length = length * 10 + usize::from(digit - b'0'),
            }
        }
        let mut text = vec![0; length + 1];
        control
            .read_exact(&mut text)
            .expect("the rest of an answer");
        text.pop();
        String::from_utf8(text).expect("JSON")
    }
}

fn number_after(text: &str, mark: &str) -> Option<u64> {
    let rest = text.split(mark).nth(1)?;
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    rest[..end].parse().ok()
}

/// A minute of a tone: 16 bit, mono, 8000 samples a second, as a WAV file.
fn tone() -> Vec<u8> {
    let samples = 8000 * 60;
    let bytes: u32 = samples * 2;
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend((36 + bytes).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    file.extend([1, 0, 1, 0]);
    file.extend(8000_u32.to_le_bytes());
    file.extend(16000_u32.to_le_bytes());
    file.extend([2, 0, 16, 0]);
    file.extend(b"data");
    file.extend(bytes.to_le_bytes());
    // 400 Hz: up for ten samples, down for ten.
    let wave = (0..samples).map(|n| if n / 10 % 2 == 0 { 8000_i16 } else { -8000 });
    file.extend(wave.flat_map(i16::to_le_bytes));
    file
}
