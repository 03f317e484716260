"""The modules of the core that plugins may import; contracts, reference and tests use this list."""

PUBLIC = (
    "heatproof.errors", "heatproof.notices", "heatproof.deprecation", "heatproof.digests", "heatproof.seeding",
    "heatproof.shell", "heatproof.spreadsheet", "heatproof.records", "heatproof.component", "heatproof.hooks",
    "heatproof.imaging", "heatproof.network.modules", "heatproof.network.graph", "heatproof.dataset", "heatproof.model",
    "heatproof.batch", "heatproof.passes", "heatproof.explainer", "heatproof.metric", "heatproof.executor",
    "heatproof.config.components", "heatproof.config.entries", "heatproof.config.reading", "heatproof.testing",
    "heatproof.plan.sample_cache", "heatproof.plan.sample_file", "heatproof.plan.task",
    "heatproof.results.case_samples", "heatproof.results.tabular", "heatproof.results.finished",
    "heatproof.results.ranking", "heatproof.results.answer", "heatproof.results.figures", "heatproof.results.divisions",
    "heatproof.results.joined",
    "heatproof.run.memory", "heatproof.run.costs", "heatproof.cli.tables", "heatproof.cli.terminal",
)  # fmt: skip
"""Modules and whole packages, lowest layer first; all others may change without notice."""
