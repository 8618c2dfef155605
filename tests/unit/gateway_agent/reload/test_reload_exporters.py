"""Exporters come, change and go at run time, and keep their places."""

from pathlib import Path

from gateway_agent.status import ExporterStatus
from tests.unit.gateway_agent.slave import until

from .reload_site import ReloadSite

LATER = "[reload]\nprobation_s = 60\n"
NEVER = "[reload]\nprobation_s = 0\n"


class ExportingSite(ReloadSite):
    """A site with an exporter that writes files."""

    def exported(self, *buses: tuple[str, tuple[int, ...]], more: str, latency_ms: int) -> str:
        text = self.text(*buses, more=more)
        text = text.replace("[uplink]\n", '[[uplink]]\ntype = "mqtt"\n')
        if latency_ms:
            folder = self.path.parent / "files"
            text += f'[[uplink]]\ntype = "csv"\nfolder = "{folder}"\nlatency_ms = {latency_ms}\n'
        return text

    def exporter(self) -> ExporterStatus | None:
        assert self.agent is not None
        return next(iter(self.agent.snapshot().uplinks), None)

    def delivered(self) -> int:
        found = self.exporter()
        return -1 if found is None else found.delivered_to


async def test_an_exporter_comes_changes_and_goes(tmp_path: Path) -> None:
    async with ExportingSite(tmp_path).serving() as site:
        assert isinstance(site, ExportingSite)
        buses = ("a", (1,)), ("b", (1,))
        site.path.write_text(site.exported(*buses, more=NEVER, latency_ms=0))
        async with site.running():
            assert site.exporter() is None
            for latency_ms in (10, 20):
                text = site.exported(*buses, more=NEVER, latency_ms=latency_ms)
                assert not (await site.reloader.apply(text, "ana", "x")).problems
                before = site.delivered()
                await until(lambda b=before: site.delivered() > b + 20)  # type: ignore[misc] # bound now
                found = site.exporter()
                assert found is not None
                assert found.lost == 0
            text = site.exported(*buses, more=NEVER, latency_ms=0)
            assert not (await site.reloader.apply(text, "ana", "x")).problems
            assert site.exporter() is None


async def test_an_exporter_whose_removal_is_undone_goes_on_where_it_was(tmp_path: Path) -> None:
    async with ExportingSite(tmp_path).serving() as site:
        assert isinstance(site, ExportingSite)
        buses = ("a", (1, 2)), ("b", (1,))
        site.path.write_text(site.exported(*buses, more=LATER, latency_ms=10))
        async with site.running():
            await until(lambda: site.delivered() > 20)
            before = site.delivered()
            wrong = site.exported(*buses, more=LATER, latency_ms=0)
            wrong = wrong.replace('name = "a2"\nunit = 2', 'name = "a2"\nunit = 9')
            site.units["a"].dead = {9}
            assert not (await site.reloader.apply(wrong, "ana", "x")).problems
            assert site.exporter() is None
            await until(lambda: "undone" in site.reloader.state().outcome)
            await until(lambda: site.exporter() is not None)
            assert site.delivered() >= before, "nothing is sent twice"
            await until(lambda: site.delivered() > before + 20)
            found = site.exporter()
            assert found is not None
            assert found.lost == 0
            assert found.losses == []
