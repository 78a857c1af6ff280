"""What models cost by the list that comes with the library; it may be old, and is in US dollars."""

from genai_prices import Usage, calc_price

_A_MILLION = 1_000_000


def listed_prices(model: str) -> tuple[float, float] | None:
    """Of a million tokens read and written, of a short prompt; None for a model that is not listed."""
    provider, _, name = model.partition(":")
    provider = provider.removesuffix("-responses").removesuffix("-chat")
    try:
        read = calc_price(Usage(input_tokens=1_000, output_tokens=0), name, provider_id=provider).total_price
        written = calc_price(Usage(input_tokens=0, output_tokens=1_000), name, provider_id=provider).total_price
    except (LookupError, ValueError):
        return None
    return float(read) * _A_MILLION / 1_000, float(written) * _A_MILLION / 1_000
