"""The loops that crawl is measured against: plain programs, which import nothing of ours."""
