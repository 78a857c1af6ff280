"""Never comes to an end, whatever it is told."""

while True:
    try:
        while True:
            pass
    except BaseException:  # noqa: BLE001, PERF203, RUF100  # the worst that a user's code can do
        pass
