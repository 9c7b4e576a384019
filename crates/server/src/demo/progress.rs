//! What the demo shows while it works: one line per step, with a spinner where a terminal can show one.

use std::{io::IsTerminal as _, time::Duration, time::Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shows steps.
#[derive(Debug)]
pub(super) struct Progress {
    shown: bool,
}

/// A step that runs.
#[derive(Debug)]
pub(super) struct Step {
    bar: ProgressBar,
    name: String,
    began: Instant,
}

impl Progress {
    /// Spins on a terminal; elsewhere only finished steps are printed.
    pub(super) fn new() -> Self {
        Self { shown: std::io::stderr().is_terminal() }
    }

    /// Begins a step.
    pub(super) fn step(&self, name: String) -> Step {
        let target =
            if self.shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let style = ProgressStyle::with_template("  {spinner} {msg}  {elapsed}");
        let bar = ProgressBar::with_draw_target(None, target)
            .with_style(style.expect("the template is well formed"))
            .with_message(name.clone());
        bar.enable_steady_tick(Duration::from_millis(100));
        Step { bar, name, began: Instant::now() }
    }
}

impl Step {
    /// Ends the step and says what came of it.
    pub(super) fn done(self, outcome: &str) {
        self.bar.finish_and_clear();
        let took = self.began.elapsed();
        eprintln!("  ✓ {} ({:.1} s): {outcome}", self.name, took.as_secs_f64());
    }
}
