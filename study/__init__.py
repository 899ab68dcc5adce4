"""Studies: their spec, design, driver, storage, report and command."""
