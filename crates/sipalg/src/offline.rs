//! `sipalg pcap`: a capture as the other side of the gateway would see it.
//!
//! ```text
//!   capture --> packet --> fragments --> gateway --+-- tcp, reassembly --> stream --+
//!   (file)      (IPv4)                             |-- datagrams -------------------+--> Alg, ModelNat
//!                                                  `-- everything else, by ModelNat
//!   capture <-- packets with other ends    report <-- messages before and after, what was left out
//! ```
//!
//! The machine is the one of the running gateway; packets' timestamps are its clock, and
//! [`ModelNat`](sipalg_core::model::ModelNat) does what the kernel would.

pub mod capture;
pub mod configuration;
pub mod datagrams;
pub mod fragments;
pub mod gateway;
pub mod inverse;
pub mod packet;
pub mod reassembly;
pub mod report;
pub mod signalling;
pub mod tcp;

use crate::diff::Marks;
use crate::log;
use capture::{Damage, Item, Reader, Writer};
use configuration::Configuration;
use gateway::{Frame, Gateway};
use report::Report;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What to do with which capture.
#[derive(Clone, Debug)]
pub struct Options {
    /// The capture to read.
    pub input: PathBuf,
    /// The capture to write.
    pub output: PathBuf,
    /// Who is inside, and what they become.
    pub configuration: configuration::Asked,
    /// TCP and UDP ports on which SIP is looked into, besides those of a configuration file.
    pub sip_ports: BTreeSet<u16>,
    /// Whether messages are shown as a whole.
    pub verbose: bool,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(transparent)]
    Configuration(#[from] configuration::Problem),
    #[error("cannot read the capture {}: {error}", path.display())]
    NoInput { path: PathBuf, error: io::Error },
    #[error("cannot read the capture {}: {error}", path.display())]
    NotACapture { path: PathBuf, error: Damage },
    #[error("{} is the capture that is read; name another file to write", path.display())]
    Same { path: PathBuf },
    #[error("cannot write the capture {}: {error}", path.display())]
    NoOutput { path: PathBuf, error: io::Error },
    #[error("cannot print: {0}")]
    Print(io::Error),
}

impl Problem {
    fn status(&self) -> u8 {
        match self {
            Problem::Configuration(_) | Problem::Same { .. } => 2,
            _ => 1,
        }
    }
}

/// Translates the capture, prints what changed, and gives the exit status.
pub fn run(options: &Options) -> ExitCode {
    let stdout = io::stdout();
    let marks = if stdout.is_terminal() {
        Marks::Colour
    } else {
        Marks::Carets
    };
    let mut print = BufWriter::new(stdout.lock());
    let report = Report::new(&mut print, marks, options.verbose);
    match translate(options, report) {
        Ok(()) => ExitCode::SUCCESS,
        // Who reads has seen enough.
        Err(Problem::Print(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(problem) => {
            log::line(format_args!("{problem}"));
            ExitCode::from(problem.status())
        }
    }
}

fn translate(options: &Options, report: Report<'_>) -> Result<(), Problem> {
    let configuration = Configuration::find(&options.configuration, &options.sip_ports)?;
    let input = File::open(&options.input).map_err(|error| Problem::NoInput {
        path: options.input.clone(),
        error,
    })?;
    if is_same(&input, &options.output) {
        let path = options.output.clone();
        return Err(Problem::Same { path });
    }
    let mut reader = Reader::open(input).map_err(|error| Problem::NotACapture {
        path: options.input.clone(),
        error,
    })?;
    let cannot_write = |error| Problem::NoOutput {
        path: options.output.clone(),
        error,
    };
    let output = File::create(&options.output).map_err(cannot_write)?;
    let mut writer = Writer::new(BufWriter::new(output)).map_err(cannot_write)?;
    let mut gateway = Gateway::new(configuration, report);
    carry(&mut reader, &mut gateway, &mut writer).map_err(cannot_write)?;
    writer.finish().map_err(cannot_write)?;
    gateway.finish().map_err(Problem::Print)
}

/// Takes every packet of the capture through the gateway; one that is damaged, up to there.
///
/// # Errors
/// The result cannot be written.
pub fn carry<W: Write>(
    reader: &mut Reader,
    gateway: &mut Gateway<'_>,
    writer: &mut Writer<W>,
) -> io::Result<()> {
    let mut link_types = Vec::new();
    let mut time = 0;
    loop {
        match reader.read() {
            Ok(None) => return Ok(()),
            Ok(Some(Item::Interface(link_type))) => {
                link_types.push(link_type);
                writer.interface(link_type)?;
            }
            Ok(Some(Item::Packet(packet))) => {
                time = packet.time.unwrap_or(time);
                let link_type = link_types.get(packet.interface as usize);
                let frame = Frame {
                    link_type: link_type.copied().unwrap_or(u16::MAX),
                    time,
                    data: &packet.data,
                    length: packet.length,
                };
                gateway.frame(&frame, &mut |data, length| {
                    writer.packet(packet.interface, time, data, length)
                })?;
            }
            Err(damage) => {
                gateway.damaged(&damage);
                return Ok(());
            }
        }
    }
}

fn is_same(input: &File, output: &Path) -> bool {
    let name = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let (input, output) = (input.metadata().map(name), output.metadata().map(name));
    matches!((input, output), (Ok(input), Ok(output)) if input == output)
}
