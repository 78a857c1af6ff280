"""What models cost: as configured, or as the library lists them."""

from consumer.reports.estimate import TokenPrices
from consumer.settings import ModelSettings
from consumer.wiring.models import PRICE_LIST_CURRENCY


def token_prices(settings: ModelSettings, model: str, account_currency: str) -> TokenPrices | None:
    """As configured, else by the library's list, which is in USD; None where neither tells."""
    if settings.llm_input_price is not None and settings.llm_output_price is not None:
        return TokenPrices(settings.llm_input_price, settings.llm_output_price)
    if account_currency != PRICE_LIST_CURRENCY or settings.llm_base_url is not None:
        return None
    from consumer.adapters.language_models.price_list import listed_prices

    listed = listed_prices(model)
    return None if listed is None else TokenPrices(*listed)
