//! The format of the records, byte by byte: whoever changes it must change its version.

#[path = "survivor/rich.rs"]
mod rich;
mod survivor;
mod world;

use survivor::Memory;

/// Name and record in hexadecimal, one a line, of every kind. A line that changes without
/// another version makes a new program misread what the old one has written; in the names there are
/// hashes, which must stay as well.
const FORMAT: &str = include_str!("survivor/format.txt");

#[test]
fn the_records_of_version_1_are_written_as_ever() {
    let mut world = rich::rich().world;
    let records = Memory::of(&mut world.alg).records;
    let lines = records.iter();
    let lines: Vec<_> = lines
        .map(|(name, record)| format!("{} {}", hex(name), hex(record)))
        .collect();
    let expected: Vec<_> = FORMAT
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    assert_eq!(lines, expected, "\n{}\n", lines.join("\n"));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
