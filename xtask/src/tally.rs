//! Counts passed and failed checks over all runners, by reading their closing
//! lines.

/// Passed and failed checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    /// Checks that passed.
    pub(crate) passed: u64,
    /// Checks that failed.
    pub(crate) failed: u64,
}

impl Tally {
    /// One check.
    pub(crate) fn one(ok: bool) -> Self {
        if ok { Self { passed: 1, failed: 0 } } else { Self { passed: 0, failed: 1 } }
    }

    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self { passed: self.passed + other.passed, failed: self.failed + other.failed }
    }

    /// What a runner's output says, given whether it exited well. A runner that
    /// failed without naming a failed test (it did not build, say) counts as
    /// one failure; one that names no test at all counts as one check.
    pub(crate) fn of(output: &str, ok: bool) -> Self {
        let mut sum = Self::default();
        for line in output.lines() {
            if let Some(found) = closing_line(&plain(line)) {
                sum = sum.plus(found);
            }
        }
        match (ok, sum.passed + sum.failed, sum.failed) {
            (ok, 0, _) => Self::one(ok),
            (false, _, 0) => sum.plus(Self::one(false)),
            _ => sum,
        }
    }
}

/// A line without terminal colours.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            for c in chars.by_ref() {
                if c.is_ascii_alphabetic() {
                    break;
                }
            }
        } else {
            text.push(c);
        }
    }
    text
}

fn closing_line(line: &str) -> Option<Tally> {
    let line = line.trim();
    // cargo test: `test result: ok. 3 passed; 0 failed; …`
    if let Some(rest) = line.strip_prefix("test result:") {
        return Some(words(rest));
    }
    // nextest: `Summary [ 0.1s] 3 tests run: 2 passed, 1 failed, 0 skipped`
    if line.starts_with("Summary [") {
        return line.split_once("run:").map(|(_, rest)| words(rest));
    }
    // vitest: `Tests  1 failed | 2 passed (3)`
    if let Some(rest) = line.strip_prefix("Tests ") {
        return rest.contains('(').then(|| words(rest));
    }
    // node's runner: `# pass 3`, `ℹ fail 1`, `# cancelled 1`
    let rest = line.strip_prefix("# ").or_else(|| line.strip_prefix("ℹ "))?;
    let (word, number) = rest.split_once(' ')?;
    let number = number.trim().parse().ok()?;
    match word {
        "pass" => Some(Tally { passed: number, failed: 0 }),
        "fail" | "cancelled" => Some(Tally { passed: 0, failed: number }),
        _ => None,
    }
}

/// Sums `N passed`, `N failed` and `N timed out` in any order.
fn words(text: &str) -> Tally {
    let tokens: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).filter(|t| !t.is_empty()).collect();
    let mut sum = Tally::default();
    for pair in tokens.windows(2) {
        if let [number, word] = pair
            && let Ok(number) = number.parse::<u64>()
        {
            match *word {
                "passed" => sum.passed += number,
                "failed" | "timed" => sum.failed += number,
                _ => {}
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::Tally;

    fn tally(passed: u64, failed: u64) -> Tally {
        Tally { passed, failed }
    }

    #[test]
    fn reads_every_runner() {
        let cargo = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
                     test result: FAILED. 2 passed; 1 failed; 0 ignored";
        assert_eq!(Tally::of(cargo, false), tally(5, 1));
        let nextest =
            "     Summary [   0.310s] 12 tests run: 10 passed (1 slow), 1 failed, 1 timed out, 0 skipped";
        assert_eq!(Tally::of(nextest, false), tally(10, 2));
        let vitest = " Test Files  1 passed (1)\n\u{1b}[2m      Tests \u{1b}[22m 1 failed | 7 passed (8)\n";
        assert_eq!(Tally::of(vitest, false), tally(7, 1));
        let node = "# tests 4\n# pass 3\n# fail 1\n# cancelled 0\n";
        assert_eq!(Tally::of(node, false), tally(3, 1));
    }

    #[test]
    fn a_runner_that_breaks_counts_as_a_failure() {
        assert_eq!(Tally::of("error: could not compile", false), tally(0, 1));
        assert_eq!(Tally::of("test result: ok. 3 passed; 0 failed", false), tally(3, 1));
        assert_eq!(Tally::of("nothing to say", true), tally(1, 0));
    }
}
