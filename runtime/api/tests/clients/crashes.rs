//! `kill -9` at any moment: an answered publish is there, an unanswered one wholly there or wholly absent.
