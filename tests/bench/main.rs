//! The benchmark of a pass: `cargo bench`, or `cargo bench -- NAME…` for a part of it.
//!
//! Ratios compare figures of one run, so that they mean the same on any machine. The provider is the sandbox in a
//! process of its own, the store a real `mongod` (found as the tests find it) or the embedded one. Ends with a table,
//! and non-zero when a requirement isn't kept.
#![expect(clippy::unwrap_used, reason = "a benchmark that panics has said what is wrong")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::cast_precision_loss, reason = "counts become rates and shares")]

mod binary;
mod collection;
mod floor;
mod latency;
#[path = "../it/support/mongod.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod mongod;
mod provider;
mod rate;
mod scale;
mod setup;
mod survey;
mod wake;
mod watched;

use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What can be run by itself.
const PARTS: [&str; 7] = ["rate", "throughput", "latency", "scale", "wake", "survey", "watched"];

/// A target with what was measured.
struct Measured {
    target: String,
    figure: String,
    requirement: String,
    verdict: Verdict,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Holds,
    Fails,
    /// Nothing is required of it.
    Noted,
    /// There is no server to measure it with.
    Skipped,
}

impl Measured {
    fn required(target: impl Into<String>, figure: String, requirement: &str, holds: bool) -> Self {
        let verdict = if holds { Verdict::Holds } else { Verdict::Fails };
        Self { target: target.into(), figure, requirement: requirement.to_owned(), verdict }
    }

    fn noted(target: impl Into<String>, figure: String) -> Self {
        Self { target: target.into(), figure, requirement: String::new(), verdict: Verdict::Noted }
    }

    fn skipped(target: impl Into<String>) -> Self {
        let (figure, requirement) = ("no mongod".to_owned(), String::new());
        Self { target: target.into(), figure, requirement, verdict: Verdict::Skipped }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if let [first, behaviour @ ..] = arguments.as_slice()
        && first == provider::PROCESS
    {
        runtime.block_on(provider::serve(behaviour));
        return ExitCode::SUCCESS;
    }
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("the benchmark runs with `cargo bench`");
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|argument| !argument.starts_with('-')).collect();
    if let Some(unknown) = wanted.iter().find(|name| !PARTS.contains(name)) {
        println!("there is no part `{unknown}`; there are: {}", PARTS.join(", "));
        return ExitCode::FAILURE;
    }
    let figures = runtime.block_on(Box::pin(measure(|part| wanted.is_empty() || wanted.contains(&part))));
    println!("\n{}", table(&figures));
    if figures.iter().any(|figure| figure.verdict == Verdict::Skipped) {
        println!("SKIPPED what needs a mongod: see the message above");
    }
    if figures.iter().any(|figure| figure.verdict == Verdict::Fails) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

async fn measure(wanted: impl Fn(&str) -> bool) -> Vec<Measured> {
    let mut figures = Vec::new();
    if wanted("rate") {
        figures.extend(rate::measure().await);
    }
    if wanted("throughput") {
        figures.extend(floor::measure().await);
    }
    if wanted("latency") {
        figures.extend(latency::measure().await);
    }
    if wanted("scale") {
        figures.extend(scale::measure().await);
    }
    if wanted("wake") {
        figures.extend(wake::measure().await);
    }
    if wanted("survey") {
        figures.extend(survey::measure().await);
    }
    if wanted("watched") {
        figures.extend(watched::measure().await);
    }
    figures
}

fn table(figures: &[Measured]) -> String {
    let mut rows = vec![["target", "figure", "required", ""]];
    rows.extend(figures.iter().map(|Measured { target, figure, requirement, verdict }| {
        let word = match verdict {
            Verdict::Holds => "holds",
            Verdict::Fails => "FAILS",
            Verdict::Noted => "",
            Verdict::Skipped => "SKIPPED",
        };
        [target.as_str(), figure, requirement, word]
    }));
    let widest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let [targets, figures, requirements] = [0, 1, 2].map(widest);
    let line = |[target, figure, requirement, word]: &[&str; 4]| {
        let line = format!("{target:targets$}  {figure:figures$}  {requirement:requirements$}  {word}");
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Says what is being measured, because the next line may take a while.
fn say(text: &str) {
    println!("… {text}");
}

fn per_second(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// The one in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    let value = work.await;
    (value, began.elapsed())
}
