//! What is told of the results: a table, JSON, a plot, a section of the documents.

pub mod document;
pub mod plot;
pub mod table;

use crate::bench::Results;
use crate::goals::Judged;
use serde::Serialize;
use std::fs;
use std::io;
use std::path::Path;

/// What is written as JSON.
#[derive(Serialize)]
struct Everything<'a> {
    #[serde(flatten)]
    results: &'a Results,
    goals: &'a [Judged],
}

/// Writes figures and plot into a folder; and into the documents, where they are to be published.
///
/// # Errors
/// A file cannot be written.
pub fn write(results: &Results, goals: &[Judged], folder: &Path, publish: bool) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let everything = Everything { results, goals };
    fs::write(
        folder.join("bench.json"),
        serde_json::to_string_pretty(&everything)? + "\n",
    )?;
    let plot = plot::svg(results);
    fs::write(folder.join("bench.svg"), &plot)?;
    if publish {
        fs::write("docs/bench.svg", &plot)?;
        let file = Path::new("docs/results.md");
        let before = fs::read_to_string(file).unwrap_or_default();
        fs::write(
            file,
            document::with_section(&before, &document::section(results, goals)),
        )?;
    }
    println!(
        "\nAll figures are in {}.",
        folder.join("bench.json").display()
    );
    Ok(())
}
