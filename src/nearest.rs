//! "Did you mean": the known name that is nearest to one that was mistyped.

/// The candidate that is so like `given` that a slip of the keyboard explains it.
pub(crate) fn nearest_of<'a>(given: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    /// Two names of which this share is alike are taken for one name and a slip.
    const ALIKE: f64 = 0.6;
    let given = given.to_lowercase();
    let likeness = |candidate: &str| {
        let candidate = candidate.to_lowercase();
        let last = |name: &str| name.rsplit(['.']).next().unwrap_or(name).to_owned();
        let whole = strsim::normalized_damerau_levenshtein(&given, &candidate);
        // `uri` for `store.url`; a little less than the whole name, so that `token_url` wins over `store.url`.
        let ends = strsim::normalized_damerau_levenshtein(&last(&given), &last(&candidate));
        whole.max(ends * 0.95)
    };
    candidates
        .map(|candidate| (likeness(candidate), candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, candidate)| candidate)
}
