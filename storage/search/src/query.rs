//! What can be asked of the index and what it answers.

use publaryn_core::{Ecosystem, PackageId, RepositoryId, access::Owner};

use crate::text::SearchText;

/// Largest number of hits that are counted exactly (control-plane.md §9).
pub const EXACT_TOTAL: usize = 1_000;

/// Deepest hit that can be paged to. Both back ends keep that many candidates per query.
pub const MAX_WINDOW: usize = 10_000;

/// Largest page; npm asks for up to 250 (protocols/npm.md §6).
pub const MAX_LIMIT: usize = 250;

/// A question to the index. All filters must hold.
#[derive(Debug, Clone)]
pub struct SearchQuery {
    pub text: SearchText,
    pub ecosystem: Option<Ecosystem>,
    pub owner: Option<Owner>,
    pub repository: Option<RepositoryId>,
    /// npm scope, Composer vendor, Maven group: without `@`, any case.
    pub scope: Option<String>,
    /// A licence id, also found inside an expression; any case.
    pub license: Option<String>,
    /// A whole keyword; any case.
    pub keyword: Option<String>,
    pub deprecated: Option<bool>,
    /// Only packages with a live release: what native clients may be told of.
    pub live_only: bool,
    pub sort: Sort,
    pub offset: usize,
    /// At most [`MAX_LIMIT`]; 0 asks for the total only.
    pub limit: usize,
}

impl SearchQuery {
    /// Everything that matches `text`, best first, the first 20.
    pub fn of(text: SearchText) -> Self {
        Self {
            text,
            ecosystem: None,
            owner: None,
            repository: None,
            scope: None,
            license: None,
            keyword: None,
            deprecated: None,
            live_only: false,
            sort: Sort::Relevance,
            offset: 0,
            limit: 20,
        }
    }

    /// The order in force: without words there is no relevance, so the newest come first.
    pub fn effective_sort(&self) -> Sort {
        if self.sort == Sort::Relevance && self.text.is_blank() { Sort::Updated } else { self.sort }
    }

    /// `limit` within what this page may hold; 0 beyond the window.
    pub(crate) fn bounded_limit(&self) -> usize {
        self.limit.min(MAX_LIMIT).min(MAX_WINDOW.saturating_sub(self.offset))
    }
}

/// The order of hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    #[default]
    Relevance,
    /// Latest change first.
    Updated,
    /// Most downloads first.
    Downloads,
    /// By canonical name, ascending.
    Name,
}

impl Sort {
    pub const ALL: [Self; 4] = [Self::Relevance, Self::Updated, Self::Downloads, Self::Name];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Relevance => "relevance",
            Self::Updated => "updated",
            Self::Downloads => "downloads",
            Self::Name => "name",
        }
    }
}

impl std::str::FromStr for Sort {
    type Err = publaryn_core::error::UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|sort| sort.as_str().eq_ignore_ascii_case(text.trim()))
            .ok_or_else(|| publaryn_core::error::UnknownWord { what: "Sort", word: text.chars().take(64).collect() })
    }
}

/// A page of hits, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchPage {
    pub hits: Vec<Hit>,
    pub total: Total,
}

/// One found package. The caller loads the current row and checks the right to see it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    pub id: PackageId,
    /// 0 to 1; only comparable within one answer. 0 when the order is not by relevance.
    pub score: f32,
    /// Revision of the row the document was made from.
    pub revision: i64,
}

/// How many packages match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Total {
    Exactly(usize),
    AtLeast(usize),
}

impl Total {
    pub(crate) fn counted(count: usize) -> Self {
        if count > EXACT_TOTAL { Self::AtLeast(EXACT_TOTAL) } else { Self::Exactly(count) }
    }
    pub const fn count(self) -> usize {
        match self {
            Self::Exactly(n) | Self::AtLeast(n) => n,
        }
    }
    pub const fn is_exact(self) -> bool {
        matches!(self, Self::Exactly(_))
    }
}
