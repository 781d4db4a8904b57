//! The plot: processor time of the whole path under each load, as multiples of plain NAT's.

use crate::bench::Results;
use crate::goals::ratio;
use crate::loads::{LOADS, Load};
use crate::peers::Peer;
use crate::report::table::short;
use clap::ValueEnum;
use std::fmt::Write as _;

/// The loads that have a common measure.
const SHOWN: &[&str] = &["L1", "L10", "L2", "L3", "L5", "L6"];
/// Where the axis ends; longer bars are cut, and say so.
const END: f64 = 8.0;
/// Where bars begin.
const LEFT: f64 = 440.0;
/// How long a bar of the whole axis is.
const WIDTH: f64 = 480.0;
/// The height of a bar.
const BAR: f64 = 16.0;
/// The space after a load.
const GAP: f64 = 14.0;

/// The plot as SVG.
pub fn svg(results: &Results) -> String {
    let mut bars = String::new();
    let mut y = 56.0;
    let shown = |load: &&Load| SHOWN.contains(&load.name);
    for load in LOADS.iter().filter(shown) {
        let before = y;
        for &peer in Peer::value_variants() {
            let of = |run: &crate::bench::Run| Some(run.figures.cpu);
            if let Some(ratio) = ratio(results, load.name, [peer.name(), Peer::Nat.name()], of) {
                bar(&mut bars, y, peer, ratio);
                y += BAR + 2.0;
            }
        }
        if y > before {
            let middle = f64::midpoint(before, y);
            text(
                &mut bars,
                (12.0, middle - 3.0),
                "start",
                &format!("{} {}", load.name, load.title),
            );
            text(
                &mut bars,
                (12.0, middle + 11.0),
                "start",
                &format!("(a {})", load.unit),
            );
            y += GAP;
        }
    }
    let (width, height) = (LEFT + WIDTH + 70.0, y + 10.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    text(
        &mut svg,
        (12.0, 20.0),
        "start",
        "Processor time of the whole path, as a multiple of plain NAT's; less is better",
    );
    for mark in 0..=END as u32 {
        let x = place(mark.into());
        text(&mut svg, (x, 44.0), "middle", &mark.to_string());
        // Writing to memory does not fail.
        _ = writeln!(
            svg,
            "<path d=\"M{x} 50V{}\" stroke=\"#ddd\"/>",
            height - 16.0
        );
    }
    svg + &bars + "</svg>\n"
}

fn bar(svg: &mut String, y: f64, peer: Peer, ratio: f64) {
    let length = place(ratio.min(END)) - LEFT;
    let colour = if peer == Peer::Sipalg {
        "#d9480f"
    } else {
        "#8fa3b0"
    };
    _ = writeln!(
        svg,
        "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>"
    );
    let middle = y + BAR - 4.0;
    let cut = if ratio > END { " (cut)" } else { "" };
    text(
        svg,
        (LEFT + length + 4.0, middle),
        "start",
        &format!("{}{cut}", short(ratio)),
    );
    text(svg, (LEFT - 6.0, middle), "end", peer.title());
}

fn place(ratio: f64) -> f64 {
    LEFT + ratio / END * WIDTH
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, what: &str) {
    let what = what.replace('&', "&amp;").replace('<', "&lt;");
    _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{what}</text>"
    );
}
