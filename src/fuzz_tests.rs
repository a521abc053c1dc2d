//! What strangers may send: the files of a package's tests/corpus, and what random changes make of them. docs/testing.md says how to
//! look for longer, and how to keep what was found.

use std::{
    env, fmt, fs,
    time::{Duration, Instant},
};

use proptest::{
    collection::vec,
    prelude::*,
    sample::Index,
    test_runner::{Config, RngAlgorithm, TestCaseResult, TestError, TestRng, TestRunner},
};

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");

/// How many inputs `make test` tries of each kind.
const CASES: u32 = 500;

/// Bytes, and the pieces that they come in.
#[derive(Clone)]
pub(crate) struct Input {
    pub(crate) bytes: Vec<u8>,
    cuts: Vec<usize>,
}

impl Input {
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let starts = [0].into_iter().chain(self.cuts.iter().copied());
        let ends = self.cuts.iter().copied().chain([self.bytes.len()]);
        starts.zip(ends).map(|(start, end)| &self.bytes[start..end])
    }

    /// As variables and headers have it.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\" in pieces of", self.bytes.escape_ascii())?;
        self.pieces().try_for_each(|piece| write!(f, " {}", piece.len()))
    }
}

/// Requires that it holds for the files of this folder as they are, and for what becomes of them: the same each time,
/// or others for `FUZZ_TIME`.
pub(crate) fn holds(folder: &str, property: impl Fn(&Input) -> TestCaseResult) {
    let check = |bytes: &[u8], cuts| {
        let input = Input { bytes: bytes.into(), cuts };
        property(&input).unwrap_or_else(|error| panic!("{input:?}: {error}"));
    };
    // Whole, and each byte by itself.
    let check_both = |bytes: &[u8]| {
        check(bytes, Vec::new());
        check(bytes, (0..bytes.len()).collect());
    };
    #[cfg(fuzzing)]
    libfuzzer::run(&arguments(folder), &|bytes| {
        check_both(bytes);
        // And in pieces that are the same when it is repeated.
        let mut random = fastrand::Rng::with_seed(bytes.len() as u64);
        check(bytes, (0..bytes.len()).filter(|_| random.u8(..) < 64).collect());
    });
    let files = files(folder);
    files.iter().for_each(|bytes| check_both(bytes));
    let variable = |name| env::var(name).ok();
    let time = variable("FUZZ_TIME").map(|text| humantime::parse_duration(&text).unwrap());
    let only: Option<u64> = variable("FUZZ_SEED").map(|text| text.parse().unwrap());
    let until = Instant::now() + time.unwrap_or(Duration::ZERO);
    let mut seed = only.unwrap_or_else(|| if time.is_some() { fastrand::u64(..1 << 32) } else { 0 });
    let inputs = inputs(files);
    loop {
        let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed.to_le_bytes(); 4].concat());
        match TestRunner::new_with_rng(config, rng).run(&inputs, |input| property(&input)) {
            Ok(()) => seed += 1,
            Err(TestError::Fail(why, input)) => panic!("{why}\n{input:?}\nto repeat it: FUZZ_SEED={seed}"),
            Err(TestError::Abort(why)) => panic!("{why}"),
        }
        if only.is_some() || Instant::now() >= until {
            return;
        }
    }
}

/// Those of libFuzzer, with the folder as what it begins with.
#[cfg(fuzzing)]
fn arguments(folder: &str) -> Vec<String> {
    let given = env::var("FUZZ_ARGUMENTS").expect("scripts/fuzz-coverage.sh says them");
    given.split_whitespace().map(str::to_owned).chain([format!("{CORPUS}/{folder}")]).collect()
}

fn files(folder: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> =
        fs::read_dir(format!("{CORPUS}/{folder}")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// A change of some bytes.
#[derive(Debug, Clone)]
enum Change {
    Replace(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, Index),
    Repeat(Index, Index),
    /// Puts another file in.
    Splice(Index, Index),
}

fn inputs(files: Vec<Vec<u8>>) -> impl Strategy<Value = Input> {
    // Those that formats are made of, and any.
    let byte = || prop_oneof![proptest::sample::select(&b"\r\n\0\x01\x04\xff -=,:0a"[..]), any::<u8>()];
    let place = any::<Index>;
    let change = prop_oneof![
        (place(), byte()).prop_map(|(at, byte)| Change::Replace(at, byte)),
        (place(), vec(byte(), 1..6)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (place(), place()).prop_map(|(from, to)| Change::Remove(from, to)),
        (place(), place()).prop_map(|(from, to)| Change::Repeat(from, to)),
        (place(), place()).prop_map(|(at, file)| Change::Splice(at, file)),
    ];
    (place(), vec(change, 0..6), vec(place(), 0..6)).prop_map(move |(file, changes, cuts)| {
        let mut bytes = file.get(&files).clone();
        changes.into_iter().for_each(|change| apply(&mut bytes, change, &files));
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        Input { bytes, cuts }
    })
}

fn apply(bytes: &mut Vec<u8>, change: Change, files: &[Vec<u8>]) {
    let place = |index: Index| index.index(bytes.len() + 1);
    let range = |from, to| {
        let (from, to) = (place(from), place(to));
        from.min(to)..from.max(to)
    };
    match change {
        Change::Replace(at, byte) => {
            let at = place(at);
            bytes.splice(at..bytes.len().min(at + 1), [byte]);
        }
        Change::Insert(at, new) => drop(bytes.splice(place(at)..place(at), new)),
        Change::Remove(from, to) => drop(bytes.drain(range(from, to))),
        Change::Repeat(from, to) => {
            let range = range(from, to);
            let again = bytes[range.clone()].to_vec();
            bytes.splice(range.end..range.end, again);
        }
        Change::Splice(at, file) => drop(bytes.splice(place(at)..place(at), file.get(files).clone())),
    }
}
