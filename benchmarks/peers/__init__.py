"""Client loops that crawl is compared with: standalone programs."""
