//! The manual pages, made from the command line and the command tables.

use clap::Command;
use clap_mangen::Man;
use sipalg_ios::reference;
use std::fs;
use std::io;
use std::path::Path;

/// What every page ends with.
const FILES: &str = r"
.SH FILES
.TP
/etc/sipalg/sipalg.conf
The startup configuration that the service starts with.
.TP
/run/sipalg/console.sock
The console's socket.
.TP
/var/lib/sipalg
The host's original settings, and what is kept over restarts.
.SH SEE ALSO
.BR sipalg (8),
.BR sipalg.conf (5)
";

/// Writes the pages of `program`, one for each of its commands that is shown, and that of the
/// configuration file into `folder`, which is made if it is missing.
///
/// # Errors
/// A file cannot be written.
pub fn write(mut program: Command, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let version = program.get_version().unwrap_or_default().to_owned();
    let page = reference::page(&version);
    fs::write(folder.join("sipalg.conf.5"), page)?;

    program = program.disable_help_subcommand(true);
    program.build();
    let shown = program
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    for command in shown.chain([&program]) {
        let page = Man::new(command.clone())
            .section("8")
            .source(format!("sipalg {version}"));
        let mut text = Vec::new();
        page.render(&mut text)?;
        text.extend_from_slice(FILES.as_bytes());
        fs::write(folder.join(page.get_filename()), text)?;
    }
    Ok(())
}
