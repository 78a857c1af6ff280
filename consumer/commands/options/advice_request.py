"""From the options of a run to what of it is left to a language model."""

from pathlib import Path
from typing import Any, Protocol

import typer

from consumer.commands.options import values as options
from consumer.rules.advice import MODES, RULE_ONLY
from engine.advice import Advice, DecidedBy
from engine.deciders.advised.terms import checked_llm, merged_llm
from engine.errors import ModeUnavailable
from schemas.requested import ROW_DEFAULTS


class AdviceOptions(Protocol):
    """The options of RunRequest that say who decides."""

    @property
    def decided_by(self) -> str | None: ...
    @property
    def llm(self) -> str | None: ...
    @property
    def max_llm_calls(self) -> int | None: ...
    @property
    def custom_prompt(self) -> str | None: ...
    @property
    def custom_prompt_file(self) -> Path | None: ...
    @property
    def skip_llm(self) -> bool: ...


def mode_of(given: AdviceOptions) -> DecidedBy | None:
    """Who decides; None where the rule does alone, by its mode or by --skip-llm."""
    text = given.decided_by or RULE_ONLY
    if text not in MODES:
        raise typer.BadParameter(f"is one of {', '.join(MODES)}, not {text!r}", param_hint="'--decided-by'")
    return None if text == RULE_ONLY or given.skip_llm else DecidedBy(text)


def advice_asked(given: AdviceOptions, of_strategy: Any) -> Advice | None:
    """What is left to a model; None where the rule decides alone. of_strategy: `llm` of its parameters or rules.

    Raises InvalidParams with the fields at fault, ModeUnavailable where no model is configured or another one is.
    """
    mode = mode_of(given)
    llm = merged_llm(of_strategy, options.json_object(given.llm, "--llm") if given.llm else None)
    params = checked_llm(llm)
    if mode is None:
        if given.decided_by is None and given.llm is not None:
            raise typer.BadParameter("needs --decided-by MODE: nobody is asked otherwise", param_hint="'--llm'")
        return None
    # Late: reading settings takes a tenth of a second, which a run that asks nobody need not pay.
    from consumer.settings import ModelSettings, load_settings

    settings = load_settings(ModelSettings)
    model = params.model or settings.llm_model
    if model is None:
        raise ModeUnavailable(f"mode {mode}: no model is configured; set BACKTEST_LLM_MODEL, such as openai:gpt-5-mini")
    if model not in settings.models:
        raise ModeUnavailable(f"llm.model: {model!r} is not one of BACKTEST_LLM_MODELS: {', '.join(settings.models)}")
    return params.advice(
        mode,
        model=model,
        max_calls=ROW_DEFAULTS["max_llm_calls"] if given.max_llm_calls is None else given.max_llm_calls,
        custom_prompt=prompt_of(given),
        max_prompt_tokens=settings.llm_max_prompt_tokens,
        max_answer_tokens=settings.llm_max_tokens,
        temperature=settings.llm_temperature,
    )


def prompt_of(given: AdviceOptions) -> str | None:
    """The user's own prompt, of an option or a file."""
    if given.custom_prompt_file is None:
        return given.custom_prompt
    if given.custom_prompt is not None:
        raise typer.BadParameter("stands beside --custom-prompt: one of them", param_hint="'--custom-prompt-file'")
    try:
        return options.readable_file(given.custom_prompt_file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"cannot be read: {error}", param_hint="'--custom-prompt-file'") from error
