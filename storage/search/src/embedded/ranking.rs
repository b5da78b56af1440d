//! From a question to tantivy queries: what matches, and what comes first.
//!
//! Relevance is by where the words were found: exact name > name prefix > name word > keyword >
//! description > the same with one typo (control-plane.md §9). Downloads, freshness and being
//! archived or deprecated decide within such a tier, never across.

use std::ops::Bound;

use publaryn_core::Timestamp;
use tantivy::{
    DocId, Score, SegmentReader, Term,
    query::{
        BooleanQuery, BoostQuery, ConstScoreQuery, DisjunctionMaxQuery, FuzzyTermQuery, InvertedIndexRangeQuery, Occur,
        Query, TermQuery, TermSetQuery,
    },
    schema::{Field, IndexRecordOption},
};

use super::schema::{DOWNLOADS, Facet, Fields, IS_DATED, START_CHARS, UPDATED_AT};
use crate::{
    audience::Audience,
    query::SearchQuery,
    text::{MIN_TYPO_CHARS, SearchText},
};

/// Tiers of the whole text against the whole name; added to the mean tier of its words.
const EXACT_NAME: Score = 1000.0;
const EXACT_BASE_NAME: Score = 900.0;
const NAME_PREFIX: Score = 700.0;
const BASE_NAME_PREFIX: Score = 600.0;
/// `foo bar` for `foobar`: counts as if the words had been found.
const WRITTEN_TOGETHER: Score = 500.0;

/// Tiers of one word.
const NAME_WORD: Score = 400.0;
const NAME_WORD_PREFIX: Score = 300.0;
const KEYWORD: Score = 200.0;
const DESCRIPTION: Score = 100.0;
const NAME_WORD_TYPO: Score = 60.0;
const KEYWORD_TYPO: Score = 40.0;
const DESCRIPTION_TYPO: Score = 20.0;

const BEST: Score = EXACT_NAME + NAME_WORD;

/// Within a tier: less in sum than the distance of two tiers (20).
const DOWNLOADS_WEIGHT: Score = 8.0;
const FRESHNESS_WEIGHT: Score = 1.5;
const DATED_PENALTY: Score = 10.0;

/// Age at which a package counts as half as fresh.
const HALF_FRESH_DAYS: Score = 180.0;

/// Everything that matches, scored by tier.
pub(super) fn matching(fields: &Fields, query: &SearchQuery, audience: &Audience) -> Box<dyn Query> {
    let mut clauses: Vec<(Occur, Box<dyn Query>)> = Vec::new();
    if !query.text.is_blank() {
        clauses.push((Occur::Must, text(fields, &query.text)));
    }
    let audience = TermSetQuery::new(audience.tags().map(|tag| fields.audience_term(tag)));
    clauses.push((Occur::Must, silent(audience)));
    for facet in facets(query) {
        clauses.push((Occur::Must, silent(exactly(fields.facet_term(&facet)))));
    }
    Box::new(BooleanQuery::new(clauses))
}

/// The final order within and across tiers, 0 to 1, for `TopDocs::tweak_score`.
pub(super) fn relevance(
    now: Timestamp,
) -> impl Fn(&SegmentReader) -> Box<dyn Fn(DocId, Score) -> Score + Send> + Send + Sync + 'static {
    move |segment| {
        let fast = segment.fast_fields();
        let columns = (fast.u64(DOWNLOADS), fast.i64(UPDATED_AT), fast.u64(IS_DATED));
        let (Ok(downloads), Ok(updated_at), Ok(is_dated)) = columns else {
            // Cannot happen with our schema; without the columns the tiers still hold.
            return Box::new(|_, score| score / BEST);
        };
        Box::new(move |doc, tier| {
            let popularity = ((1 + downloads.first(doc).unwrap_or(0)) as Score).log2() / 40.0;
            let updated = Timestamp::from_micros(updated_at.first(doc).unwrap_or(0));
            let age_days = now.since(updated).as_secs_f32() / 86_400.0;
            let freshness = HALF_FRESH_DAYS / (HALF_FRESH_DAYS + age_days);
            let dated = is_dated.first(doc).unwrap_or(0) as Score;
            let within =
                DOWNLOADS_WEIGHT * popularity.min(1.0) + FRESHNESS_WEIGHT * freshness - DATED_PENALTY * dated.min(1.0);
            ((tier + within) / (BEST + DOWNLOADS_WEIGHT + FRESHNESS_WEIGHT)).clamp(0.0, 1.0)
        })
    }
}

fn facets(query: &SearchQuery) -> Vec<Facet<'_>> {
    let mut facets = Vec::new();
    facets.extend(query.ecosystem.map(Facet::Ecosystem));
    facets.extend(query.owner.map(Facet::Owner));
    facets.extend(query.repository.map(Facet::Repository));
    facets.extend(query.scope.as_deref().map(Facet::Scope));
    facets.extend(query.license.as_deref().map(Facet::License));
    facets.extend(query.keyword.as_deref().map(Facet::Keyword));
    facets.extend(query.deprecated.map(Facet::Deprecated));
    if query.live_only {
        facets.push(Facet::Live);
    }
    facets
}

fn text(fields: &Fields, text: &SearchText) -> Box<dyn Query> {
    let share = 1.0 / text.terms().len() as Score;
    let mut all_words: Vec<(Occur, Box<dyn Query>)> = Vec::new();
    for term in text.terms() {
        all_words.push((Occur::Must, Box::new(BoostQuery::new(word(fields, term), share))));
    }
    all_words.push((Occur::Should, whole_name(fields, text.folded())));
    let all_words: Box<dyn Query> = Box::new(BooleanQuery::new(all_words));
    if text.terms().len() == 1 {
        return all_words;
    }
    let together = exactly(Term::from_field_text(fields.name_word, &text.compact()));
    Box::new(DisjunctionMaxQuery::new(vec![all_words, scored(together, WRITTEN_TOGETHER)]))
}

fn whole_name(fields: &Fields, folded: &str) -> Box<dyn Query> {
    Box::new(DisjunctionMaxQuery::new(vec![
        scored(exactly(Term::from_field_text(fields.full_name, folded)), EXACT_NAME),
        scored(exactly(Term::from_field_text(fields.base_name, folded)), EXACT_BASE_NAME),
        scored_start(fields.full_name, fields.full_name_start, folded, NAME_PREFIX),
        scored_start(fields.base_name, fields.base_name_start, folded, BASE_NAME_PREFIX),
    ]))
}

fn word(fields: &Fields, term: &str) -> Box<dyn Query> {
    let in_field = |field| Term::from_field_text(field, term);
    let mut ways = vec![
        scored(exactly(in_field(fields.name_word)), NAME_WORD),
        scored_start(fields.name_word, fields.name_word_start, term, NAME_WORD_PREFIX),
        scored(exactly(in_field(fields.keyword)), KEYWORD),
        scored(exactly(in_field(fields.description)), DESCRIPTION),
    ];
    if term.chars().count() >= MIN_TYPO_CHARS {
        let typo = |field| FuzzyTermQuery::new(in_field(field), 1, true);
        ways.push(scored(typo(fields.name_word), NAME_WORD_TYPO));
        ways.push(scored(typo(fields.keyword), KEYWORD_TYPO));
        ways.push(scored(typo(fields.description), DESCRIPTION_TYPO));
    }
    Box::new(DisjunctionMaxQuery::new(ways))
}

fn exactly(term: Term) -> TermQuery {
    TermQuery::new(term, IndexRecordOption::Basic)
}

/// Everything in `whole` that begins with `prefix`; `start` holds the short beginnings.
fn scored_start(whole: Field, start: Field, prefix: &str, score: Score) -> Box<dyn Query> {
    if prefix.chars().count() <= START_CHARS {
        return scored(exactly(Term::from_field_text(start, prefix)), score);
    }
    let from = Term::from_field_text(whole, prefix);
    // No UTF-8 text contains the byte 0xff, so this bound is above every continuation.
    let mut to = from.clone();
    to.append_bytes(&[0xff]);
    scored(InvertedIndexRangeQuery::new(Bound::Included(from), Bound::Excluded(to)), score)
}

fn scored(query: impl Query, score: Score) -> Box<dyn Query> {
    Box::new(ConstScoreQuery::new(Box::new(query), score))
}

/// A filter: narrows without adding to the score.
fn silent(query: impl Query) -> Box<dyn Query> {
    scored(query, 0.0)
}
