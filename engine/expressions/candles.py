"""The candle patterns there are: TA-Lib's functions CDL..., in small letters and without that.

Written down so that checking a request loads no TA-Lib; a test holds them against engine.indicators.CANDLES.
"""

from typing import Final

_NAMES: Final = """
    2crows 3blackcrows 3inside 3linestrike 3outside 3starsinsouth 3whitesoldiers abandonedbaby advanceblock belthold
    breakaway closingmarubozu concealbabyswall counterattack darkcloudcover doji dojistar dragonflydoji engulfing
    eveningdojistar eveningstar gapsidesidewhite gravestonedoji hammer hangingman harami haramicross highwave hikkake
    hikkakemod homingpigeon identical3crows inneck invertedhammer kicking kickingbylength ladderbottom longleggeddoji
    longline marubozu matchinglow mathold morningdojistar morningstar onneck piercing rickshawman risefall3methods
    separatinglines shootingstar shortline spinningtop stalledpattern sticksandwich takuri tasukigap thrusting tristar
    unique3river upsidegap2crows xsidegap3methods
"""
CANDLES: Final = frozenset(_NAMES.split())
